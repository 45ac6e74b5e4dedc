"""Write outputs atomically, print to the console, and read untrusted archives and tables."""
