"""The pages, one file each; `app.main` lists them and runs the one that is open."""
