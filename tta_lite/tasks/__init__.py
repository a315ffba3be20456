"""What does accurate mean? Data, loss, metric and fit settings of one problem."""
