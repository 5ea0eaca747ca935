"""What settings and their choices mean, what stages of a solve do, and what take files call what. Imports no bpy."""

from __future__ import annotations

import re

SETTING_WORDS = {
    "detection": {
        "detector": "The model that finds people and keypoints in a take file; the step Person has its own",
        "provider": "What runs the networks; anything but Auto must really be there, else the solve stops and says so",
        "max_people": "How many people are followed in each view at most; more take longer",
        "min_person_score": "Below this the detector's person is nobody. Lower it where people are missed, raise it "
        "where furniture is taken for people",
        "redetect_every": "Frames between looks for people who came in; fewer frames take longer",
        "reuse_detections": "Keep what was detected, in your cache folder, and start from it the next time",
    },
    "cameras": {
        "misfit": "What is done with a calibration that fits the person only once a known mistake in it is undone",
    },
    "association": {
        "max_ray_error_px": "Views whose people are farther apart than this, in pixels, do not show the same person",
    },
    "triangulation": {
        "degrees_of_freedom": "Of the Student t of keypoint errors, frame by frame: smaller lets outliers count less",
        "min_score": "Keypoints that the detector scores below this are not used, frame by frame",
        "reject_sigma": "A keypoint farther from the other views than this many of its standard deviations is rejected",
        "max_sigma_m": "A joint of the raw layer less sure than this, in metres, is missing",
    },
    "motion": {
        "degrees_of_freedom": "Of the Student t of keypoint errors, over time: smaller lets outliers count less",
        "min_score": "Keypoints that the detector scores below this are not used, over time",
        "smoothness": "1: as smooth as the take itself says; larger is smoother, and slower to follow quick movements",
        "bone_sigma_m": "How much a bone may change its length, in metres, before the skeleton is made rigid",
        "max_sigma_m": "A joint that is bridged over a gap and less sure than this, in metres, is missing",
        "contacts": "What is done with feet that rest on the floor",
        "joint_limits": "Knees bend one way and nothing folds flat; acts only where that is broken",
    },
    "unseen": {
        "hypotheses": "Whether bodies are sampled where no two views see a joint and the motion leaves it open",
        "flow": "The model that samples bodies, of the kind flow",
        "hypothesis_samples": "How many bodies are sampled in such a frame",
    },
}

CHOICE_WORDS = {
    "contacts": {
        "off": "Feet are not looked at",
        "estimate": "The report says when they rest; the motion is left alone",
        "soft": "Resting feet are held in one place as surely as it is known",
        "locked": "Resting feet do not slide at all; the leg follows",
    },
    "hypotheses": {
        "off": "Such joints are missing",
        "auto": "They are held as far as bodies tell, with ellipsoids as large as that leaves open",
    },
    "misfit": {
        "refuse": "The solve stops and names the mistake",
        "warn": "The solve goes on with it as it is, and warns",
    },
    "provider": {"auto": "The fastest that is there"},
}

STAGE_WORDS = {
    "views": "Reading the videos",
    "keypoints": "Reading keypoints",
    "detect": "Finding people",
    "cameras": "Solving the cameras",
    "people": "Following people",
    "joints": "Placing joints",
    "motion": "Fitting the motion",
    "report": "Writing the report",
}

# What messages name by its key in a take file -> what the panel calls it; the first that is found counts.
_PANEL_WORDS = (
    (r"leave refine_cameras out", "untick Refine on the Person"),
    (r"refine_cameras = true under \[calibration\]", "Refine on the Person (Trust, Scale, Floor)"),
    (r"refine_cameras", "Refine on the Person"),
    (r"(\[calibration\] )?focal_sigma", "Focal Lengths Within"),
    (r'(write )?offset_s = "auto"', "choose Start: From the motion"),
    (r"offset_s = ", "Offset "),
    (r'fit = "exact"', "Fit: Exact"),
    (r'fit = "scale"', "Fit: Scaled"),
    (r'fit = "crop"', "Fit: Cropped"),
    (r'fit = "letterbox"', "Fit: Letterboxed"),
    (r"(write |say )?the right units( = …)? under \[calibration\]", "choose Lengths In (Trust, Scale, Floor)"),
    (r'write units = "mm" \(or "cm", "m"\) under \[calibration\]', "choose Lengths In (Trust, Scale, Floor)"),
    (r"intrinsics = … under \[calibration\]", "Lenses"),
    (r"distance_m and distance_between under \[calibration\]", "Distance (Trust, Scale, Floor)"),
    (r"a measured bone or camera distance under \[calibration\]", "a measured Distance (Trust, Scale, Floor)"),
    (r"\(distance_m and distance_between\)", "(Distance)"),
    (r"(\[take\] )?height_m( under \[take\]| of the take)?", "Height"),
)
_ANY_WORD = re.compile("|".join(f"({pattern})" for pattern, _ in _PANEL_WORDS))


def in_panel_words(text: str) -> str:
    """Name settings as the panel does where a message names them by their keys in a take file."""

    def said(found: re.Match[str]) -> str:
        return next(word for pattern, word in _PANEL_WORDS if re.fullmatch(pattern, found.group()))

    return _ANY_WORD.sub(said, text)
