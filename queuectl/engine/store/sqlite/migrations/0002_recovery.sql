-- What recovery counts, is told, and has to tell.

ALTER TABLE jobs ADD COLUMN interruptions INTEGER NOT NULL DEFAULT 0 CHECK (interruptions >= 0);
-- In a row: any other end of a run sets it back to 0.
ALTER TABLE jobs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0);
ALTER TABLE jobs ADD COLUMN on_crash TEXT NOT NULL DEFAULT 'adopt'
CHECK (on_crash IN ('adopt', 'kill', 'dead'));
ALTER TABLE jobs ADD COLUMN max_output_bytes INTEGER CHECK (max_output_bytes > 0);
-- Why a run whose worker died is neither over nor adopted.
ALTER TABLE jobs ADD COLUMN stuck TEXT CHECK (stuck IS NULL OR state = 'processing');

-- Process numbers mean something only in the same one; empty where there are none.
ALTER TABLE workers ADD COLUMN pid_namespace TEXT NOT NULL DEFAULT '';
-- Device and inode of its lock, by which it is known where the file was moved.
ALTER TABLE workers ADD COLUMN lock_file TEXT;
-- The wake-up pipe that it reads.
ALTER TABLE workers ADD COLUMN pipe TEXT;
-- Whether its process can replace itself, and was asked to.
ALTER TABLE workers ADD COLUMN can_restart INTEGER NOT NULL DEFAULT 0 CHECK (can_restart IN (0, 1));
ALTER TABLE workers ADD COLUMN restart INTEGER NOT NULL DEFAULT 0 CHECK (restart IN (0, 1));
