"""What every setting of a solve means, for its tooltip; and what its choices are called. Imports no bpy."""

from __future__ import annotations

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
