"""A server for trained models: an HTTP interface like that of LibreTranslate, and a web page."""
