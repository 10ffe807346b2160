"""Where text comes from: hubs, local files, package archives; and what is cleaned from it."""
