"""`routing_rules.yaml`, from its text to frozen values.

loader      load and parse: text -> `model.Rules`, or `problem.RulesInvalid` with everything that is wrong
model       the rules as the rest of Turnout sees them
warning     what is doubtful in rules that can be used
packed      the rules on their way to other processes of Turnout
diff        what a change of the rules would do
mask        the text without its secrets
schema      the JSON Schema for editors

On the way: tree (YAML with places) -> conform (the form's keys and types) -> accounts, servers, shardings, databases
(what has to agree with the rest), each adding to one report.
"""
