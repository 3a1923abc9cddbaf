-- migrate:up
-- A contact whose outcome was cleared before this version becomes open, as happens now when an
-- outcome is cleared. Its deadline begins now.
UPDATE contacts SET outcome_code = 'open', clock_start_time = now(), clock_due_time = now() + interval '1 hour',
    clock_stop_time = NULL, clock_pause_time = NULL, clock_fired_percent = 0, clock_next_time = now() + interval '30 minutes'
    WHERE outcome_code = '' AND NOT erased;
UPDATE contacts SET outcome_code = 'dropped' WHERE outcome_code = '';

-- migrate:down
SELECT 1;
