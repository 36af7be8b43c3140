"""How good a generator is: figures, tables and a sheet to look at."""
