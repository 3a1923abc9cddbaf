-- migrate:up
-- Whether a word comes from a shelter: the correction of a mistyped word must not reveal shelters to a caller who may not see them. Words stored so far may
-- come from shelters; housekeeping stores the words of every service again.
ALTER TABLE words ADD COLUMN shelter boolean NOT NULL DEFAULT true;
ALTER TABLE words DROP CONSTRAINT words_pkey, ADD PRIMARY KEY (word, shelter);
UPDATE services SET edition = '';

-- migrate:down
DELETE FROM words AS w WHERE shelter AND EXISTS (SELECT FROM words AS o WHERE o.word = w.word AND NOT o.shelter);
ALTER TABLE words DROP CONSTRAINT words_pkey, ADD PRIMARY KEY (word);
ALTER TABLE words DROP COLUMN shelter;
