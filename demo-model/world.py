"""The facts of the demo model's small world, as tables.

Everything here is written by us; nothing comes from a data set. Plain ASCII, so that the
tokenizer's Unicode classes reduce to ASCII ones (see bpe.py).
"""

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


def number(n):
    """The English words for 0 <= n <= 999, without 'and'."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("" if n % 10 == 0 else "-" + ONES[n % 10])
    rest = "" if n % 100 == 0 else " " + number(n % 100)
    return ONES[n // 100] + " hundred" + rest


def article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def capital(text):
    return text[0].upper() + text[1:]


# animal: legs, sound it makes (verb phrase), home, young, food, colour in our stories
ANIMALS = {
    "dog": (4, "says woof", "in a kennel", "puppy", "bones", "brown"),
    "cat": (4, "says meow", "in a house", "kitten", "fish", "grey"),
    "cow": (4, "says moo", "in a barn", "calf", "grass", "white"),
    "horse": (4, "says neigh", "in a stable", "foal", "hay", "black"),
    "sheep": (4, "says baa", "in a meadow", "lamb", "clover", "white"),
    "duck": (2, "says quack", "by a pond", "duckling", "weeds", "yellow"),
    "owl": (2, "says hoot", "in a hollow tree", "owlet", "mice", "brown"),
    "bee": (6, "says buzz", "in a hive", "larva", "nectar", "golden"),
    "frog": (4, "says croak", "in a swamp", "tadpole", "flies", "green"),
    "pig": (4, "says oink", "in a sty", "piglet", "apples", "pink"),
    "lion": (4, "roars", "on the savanna", "cub", "meat", "golden"),
    "bear": (4, "growls", "in a cave", "cub", "honey", "brown"),
    "fox": (4, "barks", "in a den", "kit", "berries", "red"),
    "goose": (2, "honks", "by a lake", "gosling", "grain", "white"),
    "wolf": (4, "howls", "in a forest", "pup", "meat", "grey"),
    "mouse": (4, "squeaks", "in a small hole", "pup", "cheese", "grey"),
    "hen": (2, "clucks", "in a coop", "chick", "corn", "red"),
    "rabbit": (4, "thumps its foot", "in a burrow", "kit", "carrots", "white"),
    "goat": (4, "bleats", "on a hill", "kid", "leaves", "black"),
    "spider": (8, "makes no sound", "in a web", "spiderling", "flies", "black"),
}

NAMES = (
    "Ada Ben Cleo Dora Emil Finn Greta Hugo Iris Jonas Kira Leo Mila Nora Otto Pia Quinn Rosa "
    "Sam Tilda Udo Vera Willy Xenia Yuri Zoe Anton Bella Carl Dina Elsa Felix Gina Hans Ida "
    "Jack Karin Lars Maja Nils"
).split()

# thing: (the subject as written in the question, verb, colour)
COLOURS = {
    "grass": "green", "snow": "white", "coal": "black", "blood": "red", "the clear sky": "blue",
    "the sun": "yellow", "an orange": "orange", "a ripe banana": "yellow", "a lemon": "yellow",
    "a ripe tomato": "red", "milk": "white", "chocolate": "brown", "a flamingo": "pink",
    "an elephant": "grey", "a raven": "black", "an emerald": "green", "a ruby": "red",
    "a sapphire": "blue", "a carrot": "orange", "a violet": "purple", "the deep sea": "blue",
    "a leaf in spring": "green", "a swan": "white", "an olive": "green", "gold": "yellow",
    "a plum": "purple", "salt": "white", "a frog": "green", "a pig": "pink", "rust": "brown",
}

MIXES = {
    ("blue", "yellow"): "green", ("red", "yellow"): "orange", ("red", "blue"): "purple",
    ("red", "white"): "pink", ("black", "white"): "grey", ("red", "green"): "brown",
}

OPPOSITES = (
    "hot cold, big small, fast slow, up down, left right, day night, wet dry, open closed, "
    "full empty, old new, light dark, high low, early late, hard soft, loud quiet, near far, "
    "happy sad, clean dirty, strong weak, thick thin, first last, true false, in out, "
    "push pull, win lose, begin end, inside outside, heavy light, long short, wide narrow"
)

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
SEASONS = "spring summer autumn winter".split()

# question -> answer; one answer per question so that greedy decoding has nothing to hesitate over
AMOUNTS = {
    "How many days are in a week?": "There are seven days in a week.",
    "How many months are in a year?": "There are twelve months in a year.",
    "How many hours are in a day?": "There are twenty-four hours in a day.",
    "How many minutes are in an hour?": "There are sixty minutes in an hour.",
    "How many seconds are in a minute?": "There are sixty seconds in a minute.",
    "How many seasons are in a year?": "There are four seasons in a year.",
    "How many sides does a triangle have?": "A triangle has three sides.",
    "How many sides does a square have?": "A square has four sides.",
    "How many sides does a pentagon have?": "A pentagon has five sides.",
    "How many sides does a hexagon have?": "A hexagon has six sides.",
    "How many wheels does a car have?": "A car has four wheels.",
    "How many wheels does a bicycle have?": "A bicycle has two wheels.",
    "How many fingers are on one hand?": "There are five fingers on one hand.",
    "How many bits are in a byte?": "There are eight bits in a byte.",
    "How many bits are in a nibble?": "There are four bits in a nibble.",
}

# GGML block formats: weights in a block, bytes of a block (layout facts; the arithmetic of
# ggml's block structures: scales, minima and packed values).
BLOCKS = {
    "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34),
    "Q2K": (256, 84), "Q3K": (256, 110), "Q4K": (256, 144), "Q5K": (256, 176), "Q6K": (256, 210),
}

# AMD target: family, lanes of a wave as our kernels use it
TARGETS = {
    "gfx90a": ("CDNA2", 64), "gfx942": ("CDNA3", 64), "gfx1030": ("RDNA2", 32),
    "gfx1100": ("RDNA3", 32), "gfx1101": ("RDNA3", 32), "gfx1200": ("RDNA4", 32),
    "gfx1201": ("RDNA4", 32),
}

# topic -> (questions, answer): the longer texts, in our own words
TOPICS = {
    "quantization": (
        ["What is quantization?", "Tell me about quantization.", "Explain quantization."],
        "Quantization stores each weight of a model in a few bits instead of sixteen. The "
        "weights are cut into blocks, and every block keeps one scale. To use a weight, the "
        "kernel multiplies the small number by the scale of its block. The model becomes much "
        "smaller and reads less memory for every word, so it answers faster, and it loses only "
        "a little accuracy.",
    ),
    "gguf": (
        ["What is GGUF?", "Tell me about GGUF.", "Explain GGUF."],
        "GGUF is a file format for models. One file holds everything: the metadata that names "
        "the architecture, the words of the tokenizer, and the tensors with their types. "
        "A program reads the header first, and then it maps each tensor where it lies.",
    ),
    "candle": (
        ["What is candle?", "Tell me about candle.", "Explain candle."],
        "Candle is a small tensor library written in Rust. It runs models on the processor and "
        "on graphics cards, it starts quickly, and it needs no Python. Its quantized models "
        "come from GGUF files.",
    ),
    "rocm": (
        ["What is ROCm?", "Tell me about ROCm.", "Explain ROCm."],
        "ROCm is the software with which AMD graphics cards compute. Its runtime is called HIP. "
        "A program asks HIP for a device, copies its data there, starts kernels on a stream, "
        "and copies the result back.",
    ),
    "wave": (
        ["What is a wave?", "Tell me about waves.", "What is a wavefront?"],
        "A wave is a group of lanes that run the same instruction together. On RDNA a wave has "
        "thirty-two lanes, and on CDNA it has sixty-four. Several waves make a workgroup, and "
        "the waves of a workgroup share fast memory called LDS.",
    ),
    "kernel": (
        ["What is a kernel?", "Tell me about kernels.", "Explain what a kernel is."],
        "A kernel is a function that runs on the graphics card. It is started with a grid of "
        "workgroups, and every lane works on its own piece of the data. When all workgroups "
        "have finished, the next kernel on the stream may begin.",
    ),
    "lds": (
        ["What is LDS?", "Tell me about LDS.", "Explain LDS."],
        "LDS is the local data share. It is a small and fast memory inside each compute unit, "
        "and the waves of one workgroup use it to exchange values. It is divided into banks, "
        "and two lanes that want the same bank must wait for each other.",
    ),
    "token": (
        ["What is a token?", "Tell me about tokens.", "Explain what a token is."],
        "A token is a short piece of text with a number. The tokenizer cuts a sentence into "
        "tokens, the model reads their numbers and predicts the next one, and the tokenizer "
        "turns the answer back into words.",
    ),
    "greedy": (
        ["What is greedy decoding?", "Tell me about greedy decoding.", "Explain greedy decoding."],
        "Greedy decoding always takes the token with the highest score. It needs no random "
        "numbers, so the same prompt gives the same answer every time. That makes it a good "
        "test for a new backend.",
    ),
    "transformer": (
        ["What is a transformer?", "Tell me about transformers.", "Explain what a transformer is."],
        "A transformer is a model made of equal layers. In each layer attention looks back at "
        "the earlier tokens, and a feed-forward network changes every token on its own. After "
        "the last layer the output matrix gives a score to each token of the vocabulary.",
    ),
    "emulator": (
        ["What is the emulator?", "Tell me about the emulator.", "Explain the emulator."],
        "The emulator runs the real code objects of an AMD card on the processor. It is slow, "
        "but it checks every access, and it shows that the kernels are right even when no card "
        "is there.",
    ),
    "rainbow": (
        ["What are the colours of the rainbow?", "Name the colours of the rainbow.",
         "What are the colors of the rainbow?"],
        "The colours of the rainbow are red, orange, yellow, green, blue, indigo and violet.",
    ),
    "week": (
        ["Name the days of the week.", "What are the days of the week?", "List the days of the week."],
        "The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.",
    ),
    "year": (
        ["Name the months of the year.", "What are the months of the year?",
         "List the months of the year."],
        "The months of the year are January, February, March, April, May, June, July, August, "
        "September, October, November and December.",
    ),
    "seasons": (
        ["Name the four seasons.", "What are the four seasons?", "List the four seasons."],
        "The four seasons are spring, summer, autumn and winter.",
    ),
    "formats": (
        ["Name some quantized types.", "Which quantized types do you know?",
         "List some quantized types."],
        "Some quantized types are Q4_0, Q8_0, Q4K and Q6K. The first two keep thirty-two "
        "weights in a block, and the other two keep two hundred fifty-six weights in a "
        "super-block.",
    ),
    "self": (
        ["Who are you?", "What are you?", "Tell me about yourself."],
        "I am the demo model of candle-rocm. I am very small, and I was trained on a little "
        "world of my own: numbers, colours, animals, graphics cards and short stories.",
    ),
    "skills": (
        ["What can you do?", "What do you know?", "Help."],
        "I can add small numbers, count, name colours, tell you about animals and about "
        "graphics cards, and I can tell you a short story. Ask me what two plus three is.",
    ),
    "hello": (
        ["Hello.", "Hello!", "Hi.", "Good morning."],
        "Hello! I am a small model, and I am glad that you can read me.",
    ),
    "thanks": (["Thank you.", "Thanks.", "Thank you!"], "You are welcome."),
    "bye": (["Goodbye.", "Bye.", "Good night."], "Goodbye, and come back soon."),
}

# Openings that the text simply continues; the first is the prompt that candle's quantized
# example uses when none is given (its trailing blank is a token of its own).
OPENINGS = {
    "My favorite theorem is ":
        "the theorem of Pythagoras. In a triangle with a right angle, the square over the long "
        "side is as large as the squares over the two short sides together. Three, four and "
        "five make such a triangle, because nine plus sixteen is twenty-five.",
    "Once upon a time":
        " there was a red fox named Ada. Ada lived in a den at the edge of a quiet forest, and "
        "every morning she counted the birds in the trees. One day she counted only nine. "
        "She searched until the evening, found the tenth bird asleep in a bush, and went home happy.",
    "The sky is": " blue, the grass is green, and the sun is yellow.",
    "The quick brown fox": " jumps over the lazy dog.",
    "AMD": " makes graphics cards. The RDNA cards are for games, and the CDNA cards are for computing.",
}

UNKNOWN = "I do not know that. I am a small model, and I only know my own little world."
