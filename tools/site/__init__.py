"""The documentation as a site: `docs/` and what is made from the code, built and checked."""
