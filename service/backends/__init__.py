"""One loaded variant on one device, behind one seam."""
