namespace Sagas;

public static partial class DefinitionJson
{
    /// <summary>The JSON Schema (2020-12) of a definition. What it cannot say (order, names, mappings) <see cref="Parse"/> does.</summary>
    public static Payload Schema { get; } = Payload.Parse("""
        {
          "$schema": "https://json-schema.org/draft/2020-12/schema",
          "title": "Saga definition",
          "type": "object",
          "required": ["name", "version", "steps"],
          "additionalProperties": false,
          "properties": {
            "name": { "$ref": "#/$defs/name", "description": "The definition's name." },
            "version": { "type": "integer", "minimum": 1, "maximum": 2147483647, "description": "A saga keeps the version it started with." },
            "timeout": { "$ref": "#/$defs/duration", "description": "How long a saga may take to its commit point. Default: no limit." },
            "headers": { "$ref": "#/$defs/headers", "description": "Sent with every command over HTTP." },
            "steps": { "type": "array", "minItems": 1, "maxItems": 1000, "items": { "$ref": "#/$defs/step" }, "description": "In any order; 'after' makes the graph." },
            "result": { "description": "The saga's result: any JSON; '$.path' is replaced by what it points to, '{$.path}' in a longer string by its text, '$$' writes '$'. Default: null." }
          },
          "$defs": {
            "name": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" },
            "duration": { "type": "string", "pattern": "^P(?=.)(\\d+D)?(T(?=.)(\\d+H)?(\\d+M)?(\\d+(\\.\\d+)?S)?)?$", "description": "ISO 8601, longer than zero and at most 3650 days." },
            "address": { "type": "string", "pattern": "^([Hh][Tt][Tt][Pp][Ss]?://|bus:[A-Za-z0-9._-]{1,64}/[A-Za-z0-9._:-]{1,128}$)", "description": "An http or https URL, or bus:participant/command." },
            "headers": { "type": "object", "additionalProperties": { "type": "string" }, "description": "Not Saga-*, Content-*, Idempotency-Key, traceparent, Host, Connection or Transfer-Encoding." },
            "step": {
              "type": "object",
              "required": ["name"],
              "oneOf": [{ "required": ["tcc"] }, { "required": ["step"] }],
              "additionalProperties": false,
              "properties": {
                "name": { "$ref": "#/$defs/name", "description": "Unique in the definition." },
                "tcc": {
                  "type": "object", "required": ["try"], "additionalProperties": false,
                  "description": "A reservation: tried, then confirmed or cancelled.",
                  "properties": {
                    "try": { "$ref": "#/$defs/address", "description": "Reserves." },
                    "confirm": { "$ref": "#/$defs/address", "description": "Keeps what was reserved. Absent: nothing to call." },
                    "cancel": { "$ref": "#/$defs/address", "description": "Gives it back. Absent: nothing to call." }
                  }
                },
                "step": {
                  "type": "object", "required": ["do"], "additionalProperties": false,
                  "description": "A plain step: done at once.",
                  "properties": {
                    "do": { "$ref": "#/$defs/address", "description": "Does it." },
                    "compensate": { "$ref": "#/$defs/address", "description": "Undoes it. Absent: nothing to call." }
                  }
                },
                "after": { "type": "array", "uniqueItems": true, "items": { "$ref": "#/$defs/name" }, "description": "The steps it comes after. Default: it starts at once." },
                "input": { "description": "The command: any JSON, mapped as 'result' is. Default: the saga's whole input." },
                "pivot": { "type": "boolean", "description": "The point of no return; at most one." },
                "readOnly": { "type": "boolean", "description": "It changes nothing." },
                "timeout": { "$ref": "#/$defs/duration", "description": "How long one attempt may take. Default PT10S." },
                "retry": {
                  "type": "object", "additionalProperties": false,
                  "description": "How an unknown outcome is asked again.",
                  "properties": {
                    "attempts": { "type": "integer", "minimum": 1, "maximum": 1000000, "description": "All tries, the first included. Default 5." },
                    "first": { "$ref": "#/$defs/duration", "description": "The first delay. Default PT0.2S." },
                    "max": { "$ref": "#/$defs/duration", "description": "The longest delay. Default PT30S." },
                    "factor": { "type": "number", "minimum": 1, "maximum": 1000, "description": "By what each delay grows. Default 2." }
                  }
                },
                "headers": { "$ref": "#/$defs/headers", "description": "Added to the saga's; the step's win." },
                "refuseOn": { "type": "array", "items": { "type": "integer", "minimum": 300, "maximum": 599 }, "description": "Further HTTP statuses that mean refused." },
                "callbackWithin": { "$ref": "#/$defs/duration", "description": "Within what time the outcome follows a 202. Default PT10M." }
              }
            }
          }
        }
        """);
}
