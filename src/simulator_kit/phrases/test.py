"""What customers of any office say in the test split; no sentence of `simulator_kit.phrases.train` occurs here."""

OPENERS = ("Good day.", "Hello to you.", "Hi, a quick question.", "Hello, hello.")
LINKS = ("Got it.", "Cool, thanks.", "Understood.", "Very nice.", "Ok, good.")
CORRECTIONS = ("{wrong}, no sorry, {right}", "{wrong}, or no, {right}")

PHRASES: dict[str, tuple[str, ...]] = {
    "greet": (
        "Good day!",
        "Hello, hello!",
        "Hi, is someone there?",
        "Hello, I need some help.",
        "Hi, do you have a moment?",
    ),
    "thanks": (
        "Many thanks!",
        "Very good, that's all I need, thank you.",
        "Thanks so much, have a nice day.",
        "Ok great, bye for now!",
        "You were very helpful, thank you.",
        "Perfect, that's it. Goodbye.",
    ),
    "wellbeing": ("How do you do today?", "Hi, how are you feeling?", "Are you doing well today?"),
    "bot": ("Are you a machine?", "Am I writing with a real human?", "Is this a robot or a person?"),
    "wait": (
        "I'll think about it.",
        "Just a second, please.",
        "I first have to ask my husband.",
        "Let me have a moment.",
    ),
    "hours": (
        "How long are you open on Fridays?",
        "Please tell me your opening hours.",
        "When do you close in the evening?",
        "On which days are you open?",
    ),
    "offtopic": (
        "What will the weather be this weekend?",
        "Can you sing me a song?",
        "Do you know a nice hotel in Paris?",
        "Who is the president of France?",
        "Could you do my homework?",
        "Do you sell lawn mowers?",
        "What should I cook tonight?",
        "Can you recommend a dentist?",
        "How do I learn Spanish?",
    ),
    "give_day": ("{plain} is good for me.", "Could it be {plain}?", "Maybe {plain}."),
    "other_day": ("Is {plain} better?", "Could it be {plain}?", "Ah, then {plain}, please."),
    "pick": ("I'd like {time}.", "Then {time}, please.", "Could I have {time}?"),
    "pick_all": (
        "I'd like {time}. The name is {name}, phone number {phone}.",
        "Then {time}, please: {name}, {phone}.",
        "Please book {time}, I'm {name}, phone {phone}.",
    ),
    "give_contact": (
        "Of course, {name}, {phone}.",
        "The name is {name}, phone number {phone}.",
        "{name}, and my phone is {phone}.",
    ),
    "fix_email": ("No, it is {email}.", "The right one is {email}."),
}
