// What the pages cannot do without a script: live parts, live output, selecting, copying.
"use strict";

// --- Live parts: the server sends the inside of an element; it is put in with as little
// change as can be, so that focus, ticks and what is being typed stay.

const keyOf = (node) => node.nodeType === 1 ? node.id || node.getAttribute("data-key") || "" : "";
const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

function morphAttributes(old, wanted) {
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

function morphChildren(old, wanted) {
  const stay = new Set([...wanted.children].map(keyOf));
  for (const node of [...old.children]) if (keyOf(node) && !stay.has(keyOf(node))) node.remove();
  const kept = new Map([...old.children].filter(keyOf).map((node) => [keyOf(node), node]));
  let place = old.firstChild;
  for (const next of [...wanted.childNodes]) {
    const known = kept.get(keyOf(next));
    if (known && known !== place && alike(known, next)) old.insertBefore(known, place), place = known;
    if (place && alike(place, next)) {
      morph(place, next);
      place = place.nextSibling;
    } else {
      old.insertBefore(next, place);
    }
  }
  while (place) { const gone = place; place = place.nextSibling; gone.remove(); }
}

function morph(old, wanted) {
  if (old.nodeType !== 1) {
    if (old.nodeValue !== wanted.nodeValue) old.nodeValue = wanted.nodeValue;
  } else if (!old.isEqualNode(wanted)) {
    morphAttributes(old, wanted);
    morphChildren(old, wanted);
  }
}

function show({ id, html }) {
  const element = document.getElementById(id);
  if (!element) return;
  const wanted = document.createElement("template");
  wanted.innerHTML = html;
  const focused = document.activeElement;
  morphChildren(element, wanted.content);
  // What is moved loses it.
  if (focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  count();
}

// A server that was restarted answers again after a moment: EventSource tries by itself,
// but for an answer that is no stream; then we begin anew. A page that nobody sees holds no
// connection: a browser has six for a host. Every stream begins with all there is.
function listen(address, handlers) {
  let stream = null, isOver = false, isTold = false, timer = 0;
  const finish = () => { isOver = true; stream.close(); };
  const open = () => {
    const mine = stream = new EventSource(address);
    for (const name in handlers) stream.addEventListener(name, (event) => {
      // What is wrong stays to be read until the page goes on: behind it the stream ends.
      if (name === "problem") isTold = true;
      if (name === "fragment") isTold = false, tell("");
      handlers[name](JSON.parse(event.data), finish);
    });
    stream.addEventListener("error", async () => {
      const words = mine.readyState === EventSource.CLOSED ? await refusal(address) : "";
      if (mine !== stream) return;
      if (words || !isTold) tell(words || "Connection lost, trying again");
      timer = setTimeout(keep, 3000);
    });
  };
  const keep = () => {
    clearTimeout(timer);
    if (document.visibilityState === "hidden") stream?.close();
    else if (!isOver && (stream?.readyState ?? EventSource.CLOSED) === EventSource.CLOSED) open();
  };
  document.addEventListener("visibilitychange", keep);
  addEventListener("pagehide", () => stream?.close());
  keep();
}

// An EventSource does not say why it was turned away; who asks without one is told.
async function refusal(address) {
  try {
    const answer = await fetch(address);
    if (answer.ok) return answer.body.cancel(), "";
    const { message, hint } = (await answer.json()).error;
    return hint ? `${message}: ${hint}` : message;
  } catch {
    return "";
  }
}

function tell(words) {
  const element = document.getElementById("link");
  if (element) element.hidden = !words, element.textContent = words;
}

// What is shown was deleted: nothing can be done with it, and nothing more comes.
function gone({ message }, finish) {
  finish();
  tell(message);
  document.querySelector("#head .lead").textContent = message;
  document.querySelector("#head .actions")?.remove();
  // They name its id alone, which may be another's by now.
  for (const link of document.querySelectorAll("#written a, #attempts a")) link.removeAttribute("href");
}

// --- Live output: text only; a reader who is at its end stays there, others stay where they are.
// Its end alone, and what has come is put in once a frame, in blocks that do not grow on: a
// browser lays all of a block out anew, which takes minutes where that is the whole.

const LINES = 2000, MOST = 256 * 1024, LONGEST = 8192;
const BLOCKS = /[^]{0,1023}\n|[^\n]{1,8192}/g;
const linesOf = (text) => text.split("\n").length - 1;

function follow(pre) {
  let size = 0, lines = 0, come = "", isNew = false, frame = 0;
  const cut = document.getElementById("output-cut"), lost = document.getElementById("output-gone");
  const draw = () => {
    const place = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 24 ? null : pre.scrollTop;
    if (isNew) pre.textContent = "", size = lines = 0;
    for (const part of come.match(BLOCKS) ?? []) {
      const last = pre.lastElementChild?.textContent ?? "\n";
      if (last.endsWith("\n") || last.length >= LONGEST) pre.append(document.createElement("div"));
      pre.lastElementChild.append(part);
      size += part.length, lines += linesOf(part);
    }
    for (let first; first = pre.firstElementChild; first.remove()) {
      const text = first.textContent;
      if (first === pre.lastElementChild || size <= MOST && lines - linesOf(text) < LINES) break;
      size -= text.length, lines -= linesOf(text), cut.hidden = false;
    }
    if (place === null) pre.scrollTop = pre.scrollHeight;
    else if (isNew) pre.scrollTop = place;
    come = "", isNew = false, frame = 0;
  };
  const later = () => { frame ||= requestAnimationFrame(draw); };
  pre.scrollTop = pre.scrollHeight;
  return {
    start: ({ is_cut }) => {
      // It may be another run than the page was loaded with.
      pre.hidden = false, lost.hidden = true, cut.hidden = !is_cut;
      pre.dataset.empty = "Nothing yet: what it writes appears here.";
      come = "", isNew = true;
      later();
    },
    output: ({ text }) => {
      come += text;
      if (come.length > MOST) come = come.slice(-MOST), cut.hidden = false;
      later();
    },
    missing: () => { pre.hidden = true, lost.hidden = false, cut.hidden = true; },
    end: () => { pre.dataset.empty = "It wrote nothing."; },
  };
}

// --- Selecting: how many are ticked, all at once, and a range with shift.
let last = null;
const boxes = () => [...document.querySelectorAll("input[name=job][type=checkbox]")];

function count() {
  const all = boxes();
  const ticked = all.filter((box) => box.checked).length;
  for (const button of document.querySelectorAll("[data-needs-selection]")) button.disabled = !ticked;
  for (const label of document.querySelectorAll("[data-selected]")) label.textContent = ticked ? `${ticked} selected` : "Select all";
  for (const box of document.querySelectorAll("[data-select-all]")) {
    box.checked = ticked > 0 && ticked === all.length;
    box.indeterminate = ticked > 0 && ticked < all.length;
  }
}

function tick({ target, shiftKey }) {
  if (target.matches("[data-select-all]")) for (const box of boxes()) box.checked = target.checked;
  if (target.matches("input[name=job]")) {
    const all = boxes();
    const [from, to] = [all.indexOf(last), all.indexOf(target)].sort((a, b) => a - b);
    if (shiftKey && from >= 0) for (const box of all.slice(from, to)) box.checked = target.checked;
    last = target;
  }
  count();
}

// --- Copying a command.
async function copy(button) {
  await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// --- Sending: who clicks again while the answer is slow does not mean it twice. The same is
// sent once, until the page is shown anew, or an answer would be there long since; another
// button, or other words, are not the same.
const sent = new Set(), LONGEST_ANSWER = 15000;

function sendOnce(event) {
  const { target: form, submitter } = event;
  if ((submitter?.formMethod || form.method) !== "post") return;
  const what = JSON.stringify([form.action, submitter?.formAction, submitter?.value, ...new FormData(form)]);
  if (sent.has(what)) return event.preventDefault(), tell("This was sent already, waiting for the answer");
  sent.add(what);
  submitter?.setAttribute("aria-busy", "true");
  setTimeout(() => { sent.delete(what); submitter?.removeAttribute("aria-busy"); }, LONGEST_ANSWER);
}

document.addEventListener("submit", sendOnce);
document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element)) return;
  if (event.target.matches("input[type=checkbox]")) tick(event);
  if (event.target.matches("[data-copy]")) copy(event.target);
  if (event.target.matches("[data-nothing]")) event.preventDefault();
});
// A page that the browser had put away has lost its streams.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); else count(); });
document.documentElement.classList.add("scripted");
if (navigator.clipboard) document.documentElement.classList.add("can-copy");
count();
const output = document.querySelector("pre.output");
const handlers = { fragment: show, gone, problem: ({ message }) => tell(message), ...(output && follow(output)) };
if (document.body.dataset.live) listen(document.body.dataset.live, handlers);
