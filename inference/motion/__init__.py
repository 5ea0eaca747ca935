"""From joints frame by frame to one skeleton motion over the whole take."""
