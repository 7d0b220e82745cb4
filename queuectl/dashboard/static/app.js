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
  let stream = null, isOver = false, timer = 0;
  const finish = () => { isOver = true; stream.close(); };
  const open = () => {
    stream = new EventSource(address);
    for (const name in handlers) stream.addEventListener(name, (event) => handlers[name](JSON.parse(event.data), finish));
    stream.addEventListener("open", () => tell(""));
    stream.addEventListener("error", () => {
      tell("Connection lost, trying again");
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

function tell(words) {
  const element = document.getElementById("link");
  if (element) element.hidden = !words, element.textContent = words;
}

// --- Live output: text only; a reader who is at its end stays there, others stay where they are.

const MOST = 1024 * 1024;
function follow(pre) {
  pre.scrollTop = pre.scrollHeight;
  if (!pre.dataset.output) return;
  let size = 0, place = null;
  const placeOf = () => pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 24 ? null : pre.scrollTop;
  listen(pre.dataset.output, {
    start: () => { place = placeOf(); pre.textContent = ""; size = 0; },
    output: ({ text }) => {
      if (size) place = placeOf();
      pre.append(text);
      for (size += text.length; size > MOST && pre.childNodes.length > 1; pre.firstChild.remove()) size -= pre.firstChild.length;
      pre.scrollTop = place ?? pre.scrollHeight;
    },
    problem: ({ message }) => tell(message),
    end: (_, finish) => finish(),
  });
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

document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element)) return;
  if (event.target.matches("input[type=checkbox]")) tick(event);
  if (event.target.matches("[data-copy]")) copy(event.target);
});
// A page that the browser had put away has lost its streams.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); else count(); });
document.documentElement.classList.add("scripted");
if (navigator.clipboard) document.documentElement.classList.add("can-copy");
count();
document.querySelectorAll("pre.output").forEach(follow);
if (document.body.dataset.live) listen(document.body.dataset.live, { fragment: show, problem: ({ message }) => tell(message) });
