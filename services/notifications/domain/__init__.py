"""The rules: recipients, words, attempts of a delivery, and when a delivery is given up."""
