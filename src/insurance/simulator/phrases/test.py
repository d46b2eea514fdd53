"""What customers say in the test split, by situation: no sentence of `phrases.train` occurs here.

The words are everyday ones, so that a model is tested on sentences that are new, not on vocabulary.
"""

from simulator_kit.phrases import test as shared
from simulator_kit.phrases.test import CORRECTIONS, LINKS, OPENERS

__all__ = ["BY_ID", "CORRECTIONS", "LINKS", "OPENERS", "PHRASES", "THIS"]

THIS = ("it", "that one", "the policy")
BY_ID = ("{id}", "{id}", "the policy {id}", "no. {id}")

PHRASES: dict[str, tuple[str, ...]] = {
    **shared.PHRASES,
    "address": (
        "Where can I find your office?",
        "Please give me your address.",
        "Where exactly are you?",
        "In which street is the office?",
    ),
    # Policies
    "show": (
        "Could you tell me more about {policy}?",
        "What do you know about {policy}?",
        "I'd like some information about {policy}.",
        "Can I see the details of {policy}?",
        "Please open {policy} for me.",
    ),
    "show_two": (
        "Could you tell me more about {policy} and {other}?",
        "Can I see the details of {policy} and also of {other}?",
        "Please open {policy} and {other} for me.",
    ),
    "fix_number": ("Ah, it's {id}.", "No, I mean {id}.", "The right one is {id}."),
    "fact_yearly": (
        "Tell me the yearly price of {policy}.",
        "How much money is {policy} every year?",
        "And how much does {policy} cost?",
    ),
    "fact_deductible": (
        "Tell me the deductible of {policy}.",
        "Which deductible is in {policy}?",
        "And how much is the deductible for {policy}?",
    ),
    "fact_valid": (
        "Tell me until when {policy} is valid.",
        "On which day does {policy} end?",
        "And how long am I insured with {policy}?",
    ),
    "show_and_send": (
        "Could you tell me more about {policy} and send {document} for it to {email}?",
        "Please open {policy}, and also e-mail me {document} for it at {email}.",
    ),
    "show_and_status": (
        "Could you tell me more about {policy} and about claim {claim}?",
        "Please open {policy}, and tell me the status of claim {claim}.",
    ),
    # Documents
    "send_all": (
        "Could you e-mail {document} for {policy} to {email}?",
        "I would like to get {document} for {policy}, my address is {email}.",
        "To {email}, please send {document} for {policy}.",
    ),
    "send": (
        "Would you send me {document} for {policy}?",
        "I would like to get {document} for {policy}.",
        "Please e-mail me {document} for {policy}.",
    ),
    "give_email": ("The address is {email}.", "You can send it to {email}.", "That would be {email}."),
    "document_certificate": ("some certificate", "the new certificate"),
    "document_contract": ("the whole contract", "our contract"),
    "document_invoice": ("our invoice", "the new invoice"),
    # Moving
    "move_all": (
        "We will live at {street}, {postcode} {city} from {plain}. Would you update {policy}?",
        "Please put {street}, {postcode} {city} as the address of {policy}, starting {day}.",
        "For {policy} I have a new address from {plain}: {street}, {postcode} {city}.",
    ),
    "move_open": (
        "I will soon move, so {policy} needs another address.",
        "Would you change my address in {policy}?",
        "The address of {policy} has to be changed.",
    ),
    "move_no_day": (
        "Please put {street}, {postcode} {city} as the address of {policy}.",
        "We will live at {street}, {postcode} {city}. Would you update {policy}?",
        "The new address of {policy} should be {street}, {postcode} {city}.",
    ),
    "give_address": (
        "The address is {street}, {postcode} {city}, starting {day}.",
        "We will live at {street}, {postcode} {city} from {plain}.",
    ),
    "give_first_day": ("Starting {day}.", "{day} is the first day.", "We will be there from {plain}."),
    "fix_postcode": ("Ah, it's {postcode}.", "The right postcode is {postcode}.", "No, I mean {postcode}."),
    "fact_new_price": ("And how much is it now?", "What will I pay now?", "Tell me the new price."),
    # Car insurance
    "motor_all": (
        "How much would {coverage} coverage be for a {car} from {year}{extras}? I'm {age}, {free} years claim-free.",
        "I want {coverage} coverage{extras} for our {car} from {year}. The driver: {age}, {free} claim-free years.",
        "The car is a {car} from {year}, I'm {age} with {free} years claim-free. {coverage} coverage{extras}, please.",
    ),
    "motor_open": (
        "I want to buy a car insurance.",
        "Could you insure our car?",
        "What would I pay for a car insurance?",
    ),
    "motor_car": (
        "How much would it be to insure our {car} from {year}?",
        "I want an insurance for the {car} from {year}.",
        "Our {car} from {year} needs an insurance.",
    ),
    "motor_no_coverage": (
        "How much would insurance be for a {car} from {year}? I'm {age}, with {free} years claim-free.",
        "Our {car} from {year} needs an insurance; the driver is {age} with {free} claim-free years.",
    ),
    "motor_two": (
        "How much would {coverage} and {other} coverage be, {car} from {year}? I'm {age}, {free} years claim-free.",
        "The car is a {car} from {year}, I'm {age}, {free} claim-free years. Show me {coverage} and {other} coverage.",
    ),
    "give_motor": (
        "The driver is {age} with {free} claim-free years, the car a {car} from {year}. {coverage} coverage{extras}.",
        "I am {age}, {free} years claim-free, and the {car} is from {year}. {coverage} coverage{extras}, please.",
    ),
    "give_driver": (
        "The driver is {age} with {free} claim-free years, {coverage} coverage{extras}, please.",
        "I am {age}, {free} years claim-free, and I'd like {coverage} coverage{extras}.",
    ),
    "give_coverage": (
        "I'd like {coverage} coverage{extras}.",
        "It should be {coverage}{extras}.",
        "{coverage} would be fine{extras}.",
    ),
    "extras_deductible": (" and {amount} as deductible", " if the deductible is {amount}"),
    "fix_coverage": (
        "Ah, then {coverage} coverage, please.",
        "I'd like {coverage} in that case.",
        "Could it be {coverage}?",
    ),
    "fix_deductible": ("Ah, then {amount}, please.", "I'd like {amount} in that case.", "Could it be {amount}?"),
    "refine_coverage": (
        "How about {coverage} coverage?",
        "And if I take {coverage} coverage?",
        "Then {coverage} coverage instead.",
    ),
    "fact_monthly": ("And what is it monthly?", "What would I pay each month?", "Tell me the price of a month."),
    # Household insurance
    "home_all": (
        "How much would it be to insure {a_kind} with {rooms} rooms in {postcode} for {sum}{extras}?",
        "We have {a_kind} in {postcode} with {rooms} rooms and want to insure it for {sum}{extras}.",
        "Household insurance for {sum}{extras}, please. It is {a_kind} with {rooms} rooms, postcode {postcode}.",
    ),
    "home_open": (
        "I want to buy a household insurance.",
        "Could you insure our home?",
        "What would I pay for a household insurance?",
    ),
    "home_only": (
        "How much would it be to insure {a_kind} with {rooms} rooms in {postcode}?",
        "We have {a_kind} in {postcode} with {rooms} rooms and want to insure it.",
    ),
    "give_home": (
        "It is {a_kind} with {rooms} rooms, postcode {postcode}, for {sum}{extras}.",
        "We have {a_kind} in {postcode} with {rooms} rooms, and {sum} is the sum{extras}.",
    ),
    "give_sum": ("It should be {sum}{extras}.", "I'd like {sum}{extras}.", "{sum} would be fine{extras}."),
    "extras_home": (" and with {extras}", " together with {extras}"),
    "refine_sum": ("How about {sum}?", "And if it is {sum}?", "Then {sum} instead."),
    # Claims
    "claim_all": (
        "Could you open a claim for {policy}? We had {cause} {day}, {injured}. These are damaged: {items}.",
        "I need to report {cause} {day}. {injured}. It's about {policy}, the damage is {items}.",
        "We had {cause} {day} and {injured}. Please open a claim on {policy} for {items}.",
    ),
    "claim_open": ("Could you open a claim for me?", "I need to report some damage.", "We had some damage."),
    "claim_policy": (
        "Could you open a claim for {policy}?",
        "I need to report some damage on {policy}.",
        "We had some damage, it's about {policy}.",
    ),
    "claim_no_items": (
        "Could you open a claim for {policy}? We had {cause} {day}, {injured}.",
        "I need to report {cause} {day}, {injured}. It's about {policy}.",
    ),
    "give_claim_all": (
        "It's about {policy}: {cause} {day}, {injured}, and these are damaged: {items}.",
        "For {policy}, we had {cause} {day}, {injured}. The damage is {items}.",
    ),
    "give_claim": (
        "We had {cause} {day}, {injured}. The damage is {items}.",
        "{cause} {day}, and {injured}. These are damaged: {items}.",
    ),
    "give_items": ("These are damaged: {items}.", "The damage is {items}.", "There is {items}."),
    "item": ("one {name} for {amount}", "{name} of {amount} dollars", "my {name} for {amount}"),
    "cause_collision": ("an accident with a car", "a bad collision", "a collision on the road"),
    "cause_theft": ("a theft at night", "a thief in the house"),
    "cause_fire": ("a bad fire", "a fire at night"),
    "cause_water": ("water in the rooms", "a broken water pipe", "much water damage"),
    "cause_storm": ("a bad storm", "damage by a storm", "a storm with hail"),
    "injured_no": ("no person was hurt", "nobody got hurt", "we are all fine"),
    "injured_yes": ("my daughter was hurt", "one person got injured", "someone was hurt"),
    "status": (
        "Could you tell me the status of claim {claim}?",
        "Do you have news about the claim {claim}?",
        "I'd like to hear about claim {claim}.",
        "Please open the claim {claim} for me.",
    ),
    "status_two": (
        "Could you tell me the status of claim {claim} and of claim {other}?",
        "Do you have news about the claims {claim} and {other}?",
    ),
    "status_open": (
        "Could you tell me the status of my claim?",
        "Do you have news about a claim of mine?",
        "I'd like to hear about my claim.",
    ),
    "give_number": ("The claim is {id}.", "That would be {id}.", "It has the number {id}."),
    "fact_handler": ("Tell me my contact, please.", "Who works on it?", "And who do I talk to about it?"),
    "fact_amount": ("Tell me the amount.", "How much money is it about?", "And how much is that claim?"),
    "fact_total": ("Tell me the total.", "And how much is it in total?", "What is that all together?"),
    # Appointments
    "slots": (
        "Would an advisor be free {channel} {day}?",
        "What times do you have {channel} {day}?",
        "{day} I'd like to speak with an advisor {channel}. Which times are free?",
        "Could I meet an advisor {channel} {day}?",
    ),
    "slots_open": (
        "Could I speak with an advisor?",
        "I'd like to meet an advisor.",
        "Would an appointment be possible?",
    ),
    "slots_no_day": (
        "Could I speak with an advisor {channel}?",
        "I'd like to meet an advisor {channel}.",
        "Would an appointment {channel} be possible?",
    ),
    "slots_no_channel": (
        "Could I speak with an advisor {day}?",
        "Would an advisor be free {day}?",
        "What times do you have {day}?",
    ),
    "slots_two_days": (
        "Would an advisor be free {channel} {day} or {other_day}?",
        "What times do you have {channel} {day} and {other_day}?",
    ),
    "give_channel_day": ("Maybe {channel}, and I can {day}.", "It's best {channel}, {day}."),
    "give_channel": ("Maybe {channel}.", "It's best {channel}.", "Could it be {channel}?"),
    "channel_phone": ("via phone", "as a phone call"),
    "channel_video": ("via video", "as a video call"),
    "channel_office": ("in the office", "right at your office"),
    "book": (
        "Please book me an appointment {channel} {day} at {time}.",
        "Could I meet an advisor {channel} {day} at {time}?",
        "I'd speak with an advisor {channel} {day} at {time}.",
    ),
    "book_all": (
        "Could you reserve an appointment {channel} {day} at {time}? I'm {name}, {phone}.",
        "An advisor {channel} {day} at {time}, please. {name}, {phone}.",
        "I'm {name}, {phone}, and I'd like to meet an advisor {channel} {day} at {time}.",
    ),
}
