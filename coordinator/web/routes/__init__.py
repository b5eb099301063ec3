"""The paths of the pages, one file a section: each reads rows, calls a read model, renders a template."""
