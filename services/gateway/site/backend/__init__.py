"""What more than one page asks the services: each question, and each act, once. The pages choose what they show of the answer."""
