"""A server for trained models, with the HTTP interface of LibreTranslate and a web page."""
