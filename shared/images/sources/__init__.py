"""Where images come from: folders, object stores and web servers, archives, tables and lists of addresses."""
