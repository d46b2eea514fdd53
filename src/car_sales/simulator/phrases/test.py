"""What customers say in the test split, by situation: no sentence of `phrases.train` occurs here.

The words are everyday ones, so that a model is tested on sentences that are new, not on vocabulary.
"""

from simulator_kit.phrases import test as shared
from simulator_kit.phrases.test import CORRECTIONS, LINKS, OPENERS

__all__ = ["BY_ID", "CORRECTIONS", "LINKS", "OPENERS", "PHRASES", "THIS"]


THIS = ("it", "that one", "the car")
BY_ID = ("{id}", "{id}", "the car {id}", "no. {id}")

PHRASES: dict[str, tuple[str, ...]] = {
    **shared.PHRASES,
    # Talk
    "address": (
        "Where can I find your showroom?",
        "Please give me your address.",
        "Where exactly are you?",
        "In which street is the showroom?",
    ),
    # Search
    "search": (
        "Could you look for {what}?",
        "Do you sell {what}?",
        "We are searching for {what}.",
        "My daughter is looking for {what}.",
        "I want to find {what}.",
        "I'm searching for {what}.",
        "Would you have {what} for us?",
    ),
    "search_open": (
        "I would like to buy another car.",
        "Could you show me some cars?",
        "My wife needs a car.",
        "What kind of cars do you have?",
    ),
    "criteria": (
        "Perhaps {what}.",
        "{what}, if you have one.",
        "I'm thinking of {what}.",
        "It could be {what}.",
    ),
    "price_limit": ("for no more than {price}", "not over {price}", "that costs up to {price}"),
    "refine_price": (
        "Ok, I could pay {price}.",
        "How about up to {price}?",
        "Then at most {price}, please.",
        "No, I meant {price}.",
    ),
    "refine_fuel": ("Could it be {fuel}?", "I'd like {fuel} better.", "Sorry, we want {fuel}."),
    "refine_make": ("It should be from {make}.", "Could it be a {make}?", "And what about a {make}?"),
    # Cars
    "details": (
        "Could you tell me more about {car}?",
        "What do you know about {car}?",
        "I'd like to have all the details of {car}.",
        "Please describe {car} to me.",
        "Some more information about {car}, please.",
        "Can I see the details of {car}?",
    ),
    "details_two": (
        "Could you tell me more about {car} and {other}?",
        "I'd like the details of {car} and also of {other}.",
        "Please describe {car} and {other}.",
    ),
    "compare": (
        "Could you make a comparison of {cars}?",
        "Compare {cars} with each other.",
        "I want to compare {cars}.",
        "What are the differences between {cars}?",
    ),
    "wrong_id": ("Ah, it should be {id}.", "No, I mean {id}.", "Then {id}, please."),
    "fact_color": (
        "Tell me the color of {car}.",
        "In which color is {car}?",
        "And what color does {car} have?",
    ),
    "fact_seats": (
        "How many seats are there in {car}?",
        "How many people can sit in {car}?",
        "And how many seats does {car} have?",
    ),
    "fact_gearbox": (
        "Which gearbox is in {car}?",
        "Is the gearbox of {car} automatic?",
        "Is {car} automatic or manual?",
    ),
    "fact_fuel": (
        "Is {car} petrol or diesel?",
        "What kind of fuel does {car} need?",
        "Tell me the fuel of {car}.",
    ),
    "fact_km": (
        "How many km were driven with {car}?",
        "Tell me the mileage of {car}.",
        "And how many km does {car} have?",
    ),
    # Money
    "finance": (
        "How high is the monthly rate for {car} over {months} months{extras}?",
        "Could you calculate {car} over {months} months{extras}?",
        "We would finance {car} over {months} months{extras}. What is the rate?",
        "What would {car} cost every month for {months} months{extras}?",
        "The monthly rate of {car} for {months} months{extras}, please.",
    ),
    "extras_down": (" and {down} as down payment", " if I pay {down} down"),
    "finance_open": (
        "Could I pay {car} per month?",
        "Do you offer financing for {car}?",
        "How much would {car} be every month?",
    ),
    "give_months": (
        "It would be {months} months{extras}.",
        "{months} months{extras} is fine.",
        "Let's do {months} months{extras}.",
    ),
    "finance_terms": (
        "How much is {car} per month for {months} and for {more} months?",
        "Please calculate the rates of {car} over {months} and over {more} months.",
        "What would {car} cost a month for {months} and {more} months?",
    ),
    "refinance": (
        "How about {months} months?",
        "And if I take {months} months?",
        "Then rather over {months} months.",
    ),
    "fix_down": ("Ok, I'll pay {down} down.", "I wanted to say {down} down.", "{down} down, please."),
    "fact_total": ("And how much is it in total?", "What would I pay all together?", "Tell me the total."),
    "tradein_all": (
        "I'd like to trade in my car: {plate}, {km} km, {accident}. What is it worth?",
        "How much is my car worth with {km} km and {accident}? The plate is {plate}.",
        "Please tell me what my car is worth, {plate} with {km} km, {accident}.",
    ),
    "tradein": (
        "Could you tell me what my car is worth?",
        "I also want to trade in a car.",
        "What would you pay for my old car?",
    ),
    "give_all": ("It is {plate} with {km} km, {accident}.", "My plate is {plate}, {km} km, {accident}."),
    "accident_no": ("it had no accident", "never any accident", "no accident at all"),
    "accident_yes": ("it did have an accident", "yes, there was one accident", "sadly one accident"),
    "fix_plate": ("Ah, it's {plate}.", "The right plate is {plate}.", "No, I mean {plate}."),
    "fact_valid": (
        "How many days is the offer valid?",
        "And how long is this valid?",
        "Until when does the offer stand?",
    ),
    # Test drives
    "slots": (
        "Would {car} be free for a test drive {day}?",
        "I would love to test drive {car} {day}.",
        "What times do you have for a test drive with {car} {day}?",
        "Could we take {car} for a test drive {day}?",
        "{day} I'd like to try {car}. Which times are free?",
    ),
    "slots_two_days": (
        "Would {car} be free for a test drive {day} or {other_day}?",
        "I can come for a test drive of {car} {day} or {other_day}. Which times are free?",
        "What times do you have for {car} {day} and {other_day}?",
    ),
    "slots_open": (
        "I would love a test drive with {car}.",
        "Could we take {car} for a test drive?",
        "May I test drive {car}?",
    ),
    "slots_nothing": (
        "Could we do a test drive?",
        "I'm interested in a test drive.",
        "Is a test drive possible?",
    ),
    "give_car_day": ("I want to drive {car}, {day}.", "It's {car}, and I can come {day}."),
    "book_all": (
        "Could you reserve {car} {day} at {time}? I'm {name}, {phone}.",
        "A test drive with {car} {day} at {time}, please. {name}, {phone}.",
        "I'm {name}, {phone}, and I'd like to drive {car} {day} at {time}.",
    ),
    "book": (
        "Please book me a test drive with {car} {day} at {time}.",
        "Could I try {car} {day} at {time}?",
        "I'd come {day} at {time} to test drive {car}.",
    ),
    # E-mail
    "lead_all": (
        "Could you e-mail {topic} to {email}? The name is {name}.",
        "I'm {name}, please send {topic} to {email}.",
        "I would like to get {topic}. {name}, {email}.",
    ),
    "lead": ("Would you send me {topic}?", "I would like to get {topic}.", "Please e-mail me {topic}."),
    "give_email_contact": ("Of course, {name}, {email}.", "The name is {name}, e-mail {email}."),
    "topic_offer": ("a good offer for {car}", "an offer on {car}"),
    "topic_newsletter": ("a newsletter", "that newsletter"),
    "topic_brochure": ("some brochure", "a printed brochure"),
    # Two wishes at once
    "details_finance": (
        "Could you tell me more about {car} and calculate the rate over {months} months?",
        "Please describe {car}, and how much is it a month over {months} months?",
    ),
    "details_slots": (
        "Could you tell me more about {car}, and is it free for a test drive {day}?",
        "Please describe {car}, and I'd also like to test drive it {day}.",
    ),
}
