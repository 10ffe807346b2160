"""Pages made of sections: the report of a study, of a table or figure of the paper, and of all of them."""
