"""What is told to whom, in which words, how it is delivered, and when it is given up."""
