"""Raters at a real collection service: their browsers, the faults it is put through, a database that grows up."""
