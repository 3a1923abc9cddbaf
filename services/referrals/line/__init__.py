"""The help line: contacts, callbacks, advice cards, campaigns, and the take-over of a shift."""
