"""What a solve tells people: report.json, report.html, overlays."""
