-- migrate:up
-- Whether a word was learned from a shelter: who may not see shelters must not notice by how a mistyped word is understood that there is one. What was
-- learned so far may be of one; the housekeeping learns the words of every service anew.
ALTER TABLE words ADD COLUMN shelter boolean NOT NULL DEFAULT true;
ALTER TABLE words DROP CONSTRAINT words_pkey, ADD PRIMARY KEY (word, shelter);
UPDATE services SET edition = '';

-- migrate:down
DELETE FROM words AS w WHERE shelter AND EXISTS (SELECT FROM words AS o WHERE o.word = w.word AND NOT o.shelter);
ALTER TABLE words DROP CONSTRAINT words_pkey, ADD PRIMARY KEY (word);
ALTER TABLE words DROP COLUMN shelter;
