"""From pictures to 2D keypoints with covariance: networks, crops, heatmaps, tracking."""
