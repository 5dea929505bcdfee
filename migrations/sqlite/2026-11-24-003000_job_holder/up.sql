-- Which process holds a job, so that its successor in the same data folder need not wait for the lease.
ALTER TABLE jobs ADD COLUMN instance TEXT;
