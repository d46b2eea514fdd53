"""What customers say in the test split, by situation: no sentence of `phrases_train` occurs here."""

OPENERS = ("Hey!", "Good day.", "Hey, quick question.", "Greetings.")
LINKS = ("Alright.", "Super.", "Got it.", "Cool, thanks.", "Nice.", "Understood.")
CORRECTIONS = ("{wrong}, no wait, {right}", "{wrong}, or rather {right}")
THIS_CAR = ("it", "that one", "that car")
BY_ID = ("{id}", "{id}", "vehicle {id}", "no. {id}")

PHRASES: dict[str, tuple[str, ...]] = {
    # Talk
    "greet": ("Hey!", "Good day to you", "Hi, anyone around?", "Greetings!", "Hello hello!"),
    "thanks": (
        "Many thanks!",
        "Brilliant, that's all I needed.",
        "Thanks so much, have a nice day.",
        "Ok great, bye for now!",
        "You've been very helpful.",
        "All clear, thank you!",
    ),
    "wellbeing": ("How do you feel today?", "Hey, how are things?", "Are you doing well?"),
    "bot": (
        "Are you an actual human being?",
        "Is there a machine behind this chat?",
        "What kind of assistant are you?",
    ),
    "wait": (
        "I'll have to sleep on it.",
        "Just a second.",
        "Let me check with my husband.",
        "I need to think.",
    ),
    "hours": (
        "How long are you open today?",
        "Could you tell me your opening times?",
        "When do you close in the evening?",
        "On which days are you open?",
    ),
    "address": (
        "Where can I find your showroom?",
        "Could you give me your address?",
        "Where exactly are you located?",
        "What street is the garage in?",
    ),
    "offtopic": (
        "Will it rain this weekend?",
        "Could you sing me a song?",
        "Do you know a nice hotel in Paris?",
        "Who is the president of France?",
        "Can you do my homework?",
        "Do you sell lawn mowers?",
        "What should I cook tonight?",
        "Can you recommend a dentist?",
        "How do I learn Spanish?",
    ),
    # Search
    "search": (
        "Could you look for {what}?",
        "We are after {what}.",
        "What about {what}, any in stock?",
        "I'm hoping to find {what}.",
        "Any chance you have {what}?",
        "My son is looking for {what}.",
        "Got {what} for me?",
    ),
    "search_open": (
        "I'm thinking about getting a car.",
        "Could you show me some cars?",
        "My old car broke down and I need another one.",
        "What do you have for sale?",
    ),
    "criteria": (
        "Perhaps {what}.",
        "{what} if possible.",
        "We were thinking of {what}.",
        "Something like {what}.",
    ),
    "price_limit": ("for no more than {price}", "not above {price}", "costing up to {price}"),
    "refine_price": (
        "Alright, I could spend {price}.",
        "How about up to {price}?",
        "I'd raise it to {price}.",
        "No, {price} is my limit.",
    ),
    "refine_fuel": ("Could it be {fuel}?", "On second thought, {fuel}.", "We'd rather go for {fuel}."),
    "refine_make": ("Ideally a {make}.", "Could it be a {make}?", "Anything from {make}?"),
    # Cars
    "details": (
        "Could you tell me a bit more about {car}?",
        "What else do you know about {car}?",
        "I want all the details on {car}.",
        "Let me see {car}.",
        "Describe {car} for me.",
        "Some more information on {car} would be great.",
    ),
    "details_two": (
        "Could you describe {car} and {other}?",
        "I'd like information on {car} and on {other}.",
        "Let me see {car} and also {other}.",
    ),
    "compare": (
        "Could you put together a comparison of {cars}?",
        "I'm torn between {cars}. Can you compare?",
        "Compare {cars} with each other, please.",
        "How do {cars} differ?",
    ),
    "wrong_id": ("Ah, it should be {id}.", "I got that wrong, {id}.", "Try {id} instead."),
    "fact_color": ("What's the color of {car}?", "In which color does {car} come?", "Could {car} be blue?"),
    "fact_seats": (
        "How many seats are there in {car}?",
        "How many persons can ride in {car}?",
        "Seats in {car}?",
    ),
    "fact_gearbox": (
        "Do I have to shift gears in {car}?",
        "Which gearbox is in {car}?",
        "Is {car} an automatic car?",
    ),
    "fact_fuel": (
        "What do I have to fill into {car}?",
        "Is {car} petrol or diesel?",
        "What kind of fuel does {car} use?",
    ),
    "fact_km": ("How many km are on the clock of {car}?", "How much was {car} driven?", "Mileage of {car}?"),
    # Money
    "finance": (
        "How high is the monthly rate for {car} over {months} months{extras}?",
        "Could you work out financing of {car} over {months} months{extras}?",
        "Suppose I finance {car} over {months} months{extras}. What's the rate?",
        "I'd pay {car} over {months} months{extras}. How much a month?",
        "Monthly costs of {car} for {months} months{extras}, please.",
    ),
    "extras_down": (" and {down} as a down payment", " if I put {down} down"),
    "extras_interest": (" at an interest of {interest} percent", " and {interest}% interest"),
    "finance_open": (
        "Could I pay {car} monthly?",
        "What about financing for {car}?",
        "How much would I pay for {car} every month?",
    ),
    "finance_months": (
        "Maybe {months} months{extras}.",
        "{months} months{extras} would be fine.",
        "Make it {months} months{extras}.",
    ),
    "finance_terms": (
        "How much is {car} per month for {months} and for {more} months?",
        "Give me the rates of {car} over {months} and over {more} months.",
        "Could you work out {car} over {months} as well as {more} months?",
    ),
    "refinance": (
        "How about {months} months?",
        "Could you do {months} months instead?",
        "Hmm, and for {months} months?",
    ),
    "fix_down": ("Ok, make it {down}.", "I wanted to say {down}.", "Right, {down} instead."),
    "fact_total": (
        "What's the whole amount?",
        "How much would I have paid in the end?",
        "And the total sum?",
    ),
    "tradein_all": (
        "I want to sell you my car: {plate}, {km} km, {accident}. How much?",
        "How much is my car worth if it has {km} km and {accident}? Plate {plate}.",
        "Could you estimate my car, {plate} with {km} km, {accident}?",
    ),
    "tradein": (
        "Would you buy my current car?",
        "I also have an old car that I'd like to get rid of.",
        "Could you estimate the value of my car?",
    ),
    "tradein_plate": (
        "Could you estimate what {plate}, my old car, is worth?",
        "I'd give you my car {plate}. What is it worth?",
        "Would you take my {plate} in exchange?",
    ),
    "tradein_plate_mileage": (
        "What would you pay for my car {plate}? It has {km} km.",
        "I'd like to trade in {plate}, my car, {km} km driven.",
        "Could you estimate my old car, {plate} with {km} km?",
    ),
    "give_all": ("Sure: {plate}, {km} km, {accident}.", "Number plate {plate}, {km} km on it, {accident}."),
    "give_mileage_accident": ("It's at {km} km, {accident}.", "Sure, {km} km, {accident}."),
    "give_accident": ("As far as I know, {accident}.", "To be honest, {accident}."),
    "accident_no": ("it was never in an accident", "no accident so far", "without any accident"),
    "accident_yes": ("it was in an accident", "sadly it had an accident", "with one accident"),
    "fix_plate": ("Ah, it's {plate}.", "I mistyped, {plate} is correct.", "Let me correct that: {plate}."),
    "fact_valid": (
        "How many days is that offer good for?",
        "And how long is this valid?",
        "When does the offer expire?",
    ),
    # Test drives
    "slots": (
        "Would {car} be available for a test drive {day}?",
        "I'd love to take {car} for a spin {day}.",
        "What times do you have for a test drive of {car} {day}?",
        "Any chance to drive {car} {day}?",
        "Could we test {car} {day}?",
    ),
    "slots_two_days": (
        "Would {car} be available for a test drive {day} or {other_day}?",
        "I can come for a test drive of {car} {day} or {other_day}. Which times are there?",
        "What times do you have for {car} {day} and {other_day}?",
    ),
    "slots_open": (
        "I would love a test drive with {car}.",
        "Could we test {car}?",
        "May I try out {car} some time?",
    ),
    "slots_nothing": (
        "Could I arrange a test drive?",
        "I'm interested in a test drive.",
        "How about a test drive?",
    ),
    "give_day": ("{plain} works for me.", "Could it be {plain}?", "Preferably {day}."),
    "give_car_day": ("{car}, and I'd come {day}.", "I'd take {car}, {day}."),
    "other_day": ("How about {plain}?", "Could we do it {day} instead?", "Ah, then {plain} please."),
    "pick": ("{time} works.", "I'd go for {time}.", "Could I have {time}?"),
    "pick_named": ("{time} works, the name is {name}.", "Put {name} down for {time}."),
    "pick_all": (
        "{time} works. The name is {name}, call me on {phone}.",
        "Put me down for {time}: {name}, {phone}.",
        "I'd go for {time}, {name}, tel. {phone}.",
    ),
    "give_contact": (
        "Sure, {name}, {phone}.",
        "The name is {name}, tel. {phone}.",
        "{name}, and my mobile is {phone}.",
    ),
    "give_phone": ("Sure, {phone}.", "Call me on {phone}.", "The number is {phone}."),
    "book_all": (
        "Could you book {car} {day} at {time}? {name}, tel. {phone}.",
        "Put me down for {car} {day} at {time}, {name}, {phone}.",
        "I'm {name}, {phone}, and I'd like {car} {day} at {time} for a test drive.",
    ),
    "book": (
        "Could you book me a drive with {car} {day} at {time}?",
        "Put me down for {car} {day} at {time}.",
        "I'd come {day} at {time} to test drive {car}.",
    ),
    "book_named": (
        "Could you put {name} down for {car} {day} at {time}?",
        "The name is {name}, I'd like to drive {car} {day} at {time}.",
    ),
    # E-mail
    "lead_all": (
        "Could you mail {topic} to {email}? The name is {name}.",
        "I'm {name}, please mail me {topic} at {email}.",
        "I'm interested in {topic}. {name}, {email}.",
    ),
    "lead": ("Would you mail me {topic}?", "I'm interested in {topic}.", "Please mail me {topic}."),
    "lead_named": ("The name is {name}, I'm interested in {topic}.", "Would you mail {topic} to {name}?"),
    "give_email_contact": ("Sure, {name}, {email}.", "The name is {name}, mail {email}."),
    "give_email": ("Sure, {email}.", "The address is {email}.", "Please use {email}."),
    "fix_email": ("Ah, typo. {email}.", "I mistyped, {email} is correct."),
    "topic_offer": ("a detailed offer for {car}", "an offer on {car}"),
    "topic_brochure": ("some brochure about {car}", "a brochure about {car}"),
    "topic_newsletter": ("a newsletter of yours", "that newsletter"),
    "topic_offer_open": ("a detailed offer", "some offer"),
    "topic_brochure_open": ("some brochure", "a printed brochure"),
    # Two wishes at once
    "details_finance": (
        "Could you describe {car} and work out the rate over {months} months?",
        "Let me see {car}, and how much is it a month over {months} months?",
    ),
    "details_slots": (
        "Could you describe {car}, and would it be free for a test drive {day}?",
        "Let me see {car}, and I'd also like to drive it {day}.",
    ),
}
