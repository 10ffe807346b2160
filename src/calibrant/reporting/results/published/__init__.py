"""The paper's published numbers as data: every table and number that its text holds, read into tidy frames."""
