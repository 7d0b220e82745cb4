-- How many milliseconds a run was due before it began: a retry gives its job another time.
-- NULL for those that were recorded before this, and by an older program that is still open.
ALTER TABLE runs ADD COLUMN waited_ms INTEGER CHECK (waited_ms >= 0);
