"""Lists of devices: the filter for the page, the API and the command line; exports, and actions on a whole list."""
