"""Short stories. A prompt names an animal and a name; everything else follows from the animal,
so each prompt has exactly one story."""

from world import ANIMALS, article

WEATHER = ["sunny", "rainy", "windy", "snowy", "foggy"]
LOST = ["ball", "hat", "key", "bell", "kite", "lamp", "book"]

TEMPLATES = [
    "{Name} was {a_colour} {animal} that lived {home}. One {weather} morning {Name} could not find "
    "the {lost}. {Name} asked a friendly {friend}, and the {friend} looked everywhere. At noon they "
    "found the {lost} under a big stone. {Name} was so happy that the two friends shared some "
    "{food}. From that day on {Name} the {animal} and the {friend} played together every day. "
    "The end.",
    "There was once {a_colour} {animal} named {Name}. {Name} loved {food} more than anything else. On "
    "a {weather} day {Name} walked a long way and met {a_friend}. The {friend} was hungry and had "
    "nothing to eat. So {Name} gave half of the {food} away, and the {friend} said thank you. In "
    "the evening {Name} went back to sleep {home}, and dreamed of a golden {lost}. The end.",
    "Far away lived {a_colour} {animal}, and its name was {Name}. Every night {Name} slept {home}. "
    "One {weather} night {Name} heard a noise outside. It was only {a_friend} that had lost its "
    "{lost}. {Name} took a little light, and together they searched until they found the {lost} "
    "beside the road. The {friend} thanked {Name} and brought {food} for breakfast. The end.",
]


def story(animal, name):
    kinds = list(ANIMALS)
    i = kinds.index(animal)
    friend = kinds[(i + 7) % len(kinds)]
    _, _, home, _, food, colour = ANIMALS[animal]
    return TEMPLATES[i % len(TEMPLATES)].format(
        Name=name,
        animal=animal,
        a_colour=article(colour),
        home=home,
        food=food,
        weather=WEATHER[i % len(WEATHER)],
        lost=LOST[i % len(LOST)],
        friend=friend,
        a_friend=article(friend),
    )


def story_prompts(animal, name):
    a = article(animal)
    return [
        f"Tell me a story about {a} named {name}.",
        f"Tell me a story about {name} the {animal}.",
        f"Write a short story about {a} named {name}.",
        f"Please tell a story about {a} called {name}.",
    ]


def animal_story_prompts(animal):
    """Prompts without a name; the name is then fixed by the animal."""
    return [f"Tell me a story about {article(animal)}.", f"Write a story about {article(animal)}."]
