"""Ways to ask for the same thing, written for ``benchmarks.paraphrase``."""

from __future__ import annotations

WAYS = (
    "{}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "there is a {}",
    "a picture with a {}",
    "an image showing a {}",
    "the photograph of the {}",
)
"""All of these are one to a prompt set."""
FRAMES = (
    "{}",
    "one {} in the picture",
    "you can see a {} here",
    "some kind of {}",
    "a scene with a {} in it",
    "someone took a snapshot of a {}",
    "my favourite shot of a {}",
    "close to a {}",
)
"""No two of these are one to a prompt set."""
SYNONYMS = {
    "dog": ("dog", "canine", "puppy", "hound", "pet dog", "doggy"),
    "man": ("man", "guy", "male adult", "gentleman", "fellow", "male person"),
    "woman": ("woman", "lady", "female adult", "female person", "grown-up girl", "young lady"),
    "boy": ("boy", "little boy", "male child", "young lad", "schoolboy", "small boy"),
    "girl": ("girl", "little girl", "female child", "young lass", "schoolgirl", "small girl"),
    "child": ("child", "kid", "youngster", "toddler", "little one", "young person"),
    "people": ("people", "persons", "several humans", "group of folks", "men and women", "group"),
    "water": ("water", "body of water", "river or lake", "sea", "waves", "wet surface"),
    "snow": ("snow", "snowy ground", "white winter landscape", "powder snow", "snowfield", "snow-covered hill"),
    "grass": ("grass", "lawn", "meadow", "green field", "turf", "grassy ground"),
    "beach": ("beach", "seashore", "sandy shore", "seaside", "coast with sand", "sand by the ocean"),
    "bicycle": ("bicycle", "bike", "mountain bike", "cycle", "two-wheeler", "pushbike"),
    "mountain": ("mountain", "mountain peak", "rocky summit", "high hill", "alpine range", "cliff"),
    "street": ("street", "road in a city", "avenue", "city street", "urban road", "lane in town"),
}
SCENES = (
    (
        "man in a red shirt",
        "guy wearing a red top",
        "male dressed in a red tee",
        "red-shirted man",
        "person whose shirt is red",
        "fellow with red clothing",
    ),
    (
        "dog running through the snow",
        "canine racing across snowy ground",
        "puppy sprints in the white snow",
        "in the snow a dog runs",
        "running dog, winter",
        "hound dashing over a snow-covered field",
    ),
    (
        "child in a swimming pool",
        "kid swims in a pool",
        "youngster splashing in pool water",
        "young swimmer",
        "little boy or girl bathing in a pool",
        "swimming pool with a kid in it",
    ),
    (
        "girl jumping on the beach",
        "young woman leaps at the seaside",
        "female in mid-air above the sand",
        "jump by a girl at the shore",
        "lass leaping beside the ocean",
        "beach scene in which a girl jumps",
    ),
    (
        "boy with a ball",
        "kid playing with a ball",
        "young lad holds a ball",
        "ball game of a small boy",
        "male child and his ball",
        "little boy kicks or throws a ball",
    ),
    (
        "woman wearing a hat",
        "lady with a hat on her head",
        "female in a cap",
        "hat on a woman",
        "she has headgear on",
        "behatted lady",
    ),
    (
        "climber on a rock",
        "person climbs a cliff",
        "rock climbing",
        "man scaling a stone wall",
        "mountaineer hanging off a rock face",
        "someone goes up a steep boulder",
    ),
    (
        "crowd of people outside",
        "many persons gathered outdoors",
        "large group in the open air",
        "lots of people on a square",
        "outdoor gathering",
        "throng of folks in public",
    ),
    (
        "cyclist on a dirt road",
        "person rides a bike along a muddy trail",
        "mountain biker on a track",
        "bicycle rider off the pavement",
        "biking over an unpaved path",
        "man pedals down a dusty way",
    ),
    (
        "street with people",
        "pedestrians in a city",
        "persons walk along a road in town",
        "busy urban sidewalk",
        "folks out on the pavement",
        "passers-by between buildings",
    ),
)
