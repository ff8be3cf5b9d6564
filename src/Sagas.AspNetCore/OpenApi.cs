using System.Text.Json.Nodes;

namespace Sagas.AspNetCore;

/// <summary>The API's description in OpenAPI 3.1: every call of <see cref="Calls"/>, and for each definition a start of its own with its input's schema.</summary>
internal static class OpenApi
{
    private const string Id = "1 to 128 of `A-Z a-z 0-9 . _ : -`, the first a letter or digit.";

    /// <summary>Where, schema, and meaning of every parameter.</summary>
    private static readonly Dictionary<string, (string In, JsonObject Schema, string Meaning)> Parameters = new()
    {
        ["id"] = ("query", Text(), "The saga's id: a repeat with the same input answers with the same saga. " + Id),
        ["Idempotency-Key"] = ("header", Text(), "The same as `id`."),
        ["version"] = ("query", Whole(1), "The definition's version. Default: the newest."),
        ["wait"] = ("query", new JsonObject { ["type"] = "number", ["minimum"] = 0, ["maximum"] = 60 }, "Seconds to wait for the saga's end."),
        ["tag"] = ("query", new JsonObject { ["type"] = "array", ["items"] = Text() }, "`key:value`, as often as needed."),
        ["priority"] = ("query", Whole(0, 9), "9 goes first. Default 5."),
        ["traceparent"] = ("header", Text(), "W3C trace context to go on with."),
        ["status"] = ("query", new JsonObject { ["type"] = "array", ["items"] = OneOf(Words.Statuses) }, "Any of these statuses."),
        ["definition"] = ("query", Text(), "The definition's name."),
        ["step"] = ("query", Text(), "The step a saga is at."),
        ["error"] = ("query", Text(), "The code of an error that an unfinished saga has; with `step`, that this step has."),
        ["q"] = ("query", Text(), "The start of an id, or a whole tag value."),
        ["startedAfter"] = ("query", Time(), "Started then or later."),
        ["startedBefore"] = ("query", Time(), "Started before then."),
        ["kind"] = ("query", OneOf(Words.WaitKinds), "For what a step waits. Default: anything."),
        ["minutes"] = ("query", Whole(1, 1440), "How far back. Default 15."),
        ["limit"] = ("query", Whole(1, Query.MaxLimit), $"The most items. Default {Query.DefaultLimit}."),
        ["cursor"] = ("query", Text(), "`next` of the page before."),
        ["format"] = ("query", OneOf("json", "mermaid", "dot"), "Default json."),
        ["phase"] = ("query", OneOf("try", "confirm", "cancel", "do", "compensate", "check"), "The phase that was accepted."),
        ["attempt"] = ("query", Whole(1), "The attempt that was accepted."),
        ["reason"] = ("query", Text(), "Why, for the audit: at most 1000 characters."),
        ["X-Operator"] = ("header", Text(), "Who asks, for the history. Default `anonymous`."),
    };

    private static readonly Dictionary<string, string> PathParameters = new() { ["name"] = "The definition's name.", ["id"] = "The id of the saga, of the operation, or of the dead letter.", ["step"] = "The step's name." };

    private static readonly Dictionary<int, string> Reasons = new()
    {
        [400] = "Something in the request does not fit; `detail` names it.", [404] = "Not there.", [409] = "The state of the saga, the operation or the definitions does not allow it.",
        [413] = "Over 256 KiB (a definition: 1 MiB, a batch: 16 MiB).", [415] = "Not JSON.", [422] = "The id was used before with another definition or input.",
        [429] = "The engine is full; see Retry-After.", [503] = "The store, or for dead letters the bus, does not answer; see Retry-After.",
    };

    /// <summary>The document, for an API that stands at <paramref name="root"/>.</summary>
    public static JsonObject Document(IEnumerable<SagaDefinition> definitions, string root)
    {
        var schemas = Shapes();
        var paths = new JsonObject();
        foreach (var call in Calls.All) Add(paths, call.Path, call.Method, Operation(call, call.Parameters, Content(call.Body, call.NeedsBody)));
        var start = Calls.All.First(call => call.Body == "Input");
        foreach (var definition in definitions.GroupBy(d => d.Name).Select(versions => versions.MaxBy(d => d.Version)!).OrderBy(d => d.Name, StringComparer.Ordinal))
        {
            var schema = Schemas.Of(definition.InputType) ?? new JsonObject();
            var example = ExampleOf(schema);
            var name = definition.Name + ".input";
            schemas[name] = Rebased(schema, "#/components/schemas/" + name);
            var path = start.Path.Replace("{name}", definition.Name);
            var operation = Operation(start with { Path = path, Summary = $"Start {definition.Name}" }, start.Parameters, Content(name, required: true, example));
            operation["tags"] = new JsonArray(definition.Name);
            operation["description"] = $"Version {definition.Version}: {string.Join(", ", definition.Steps.Select(step => step.Name))}.";
            Add(paths, path, start.Method, operation);
        }
        return new JsonObject
        {
            ["openapi"] = "3.1.0",
            ["info"] = new JsonObject { ["title"] = "Sagas", ["version"] = "v1", ["description"] = "Start sagas, watch them, and help those that are stuck. Every error is `application/problem+json`." },
            ["servers"] = new JsonArray(new JsonObject { ["url"] = root.Length == 0 ? "/" : root }),
            ["paths"] = paths,
            ["components"] = new JsonObject { ["schemas"] = schemas },
        };
    }

    /// <summary>A value that fits a schema, for trying out.</summary>
    public static JsonNode? ExampleOf(JsonNode? schema, int depth = 0)
    {
        if (schema is not JsonObject shape || depth > 8) return null;
        if (shape["enum"] is JsonArray { Count: > 0 } words) return words[0]?.DeepClone();
        if (shape["default"] is { } usual) return usual.DeepClone();
        var types = shape["type"] switch { JsonArray many => many.Select(t => t!.GetValue<string>()).ToArray(), { } one => [one.GetValue<string>()], _ => [] };
        // Web defaults read numbers from strings too: show the number.
        if (types.Contains("integer")) return 1;
        if (types.Contains("number")) return 1.5;
        if (types.Contains("boolean")) return true;
        if (types.Contains("array")) return ExampleOf(shape["items"], depth + 1) is { } item ? new JsonArray(item) : new JsonArray();
        if (types.Contains("string"))
            return shape["format"]?.GetValue<string>() switch
            {
                "date" => "2026-01-31",
                "date-time" => "2026-01-31T12:00:00Z",
                "time" => "12:00:00",
                "uuid" => "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
                "uri" => "http://localhost/",
                _ => "text",
            };
        if (!types.Contains("object")) return null;
        var example = new JsonObject();
        foreach (var (name, property) in shape["properties"] as JsonObject ?? []) example[name] = ExampleOf(property, depth + 1);
        return example;
    }

    /// <summary>A schema that stood alone, at its place in the document: its references to itself move with it.</summary>
    private static JsonNode Rebased(JsonNode schema, string place)
    {
        var copy = schema.DeepClone();
        Walk(copy);
        return copy;

        void Walk(JsonNode? node)
        {
            if (node is JsonArray array) foreach (var item in array) Walk(item);
            if (node is not JsonObject shape) return;
            foreach (var (name, value) in shape.ToArray())
                if (name == "$ref" && value is JsonValue text && text.TryGetValue<string>(out var target) && target.StartsWith('#')) shape[name] = place + target[1..];
                else Walk(value);
        }
    }

    private static void Add(JsonObject paths, string path, string method, JsonObject operation)
    {
        if (paths[path] is not JsonObject item) paths[path] = item = [];
        item[method.ToLowerInvariant()] = operation;
    }

    private static JsonObject Operation(Call call, string[] parameters, JsonObject? body)
    {
        var responses = new JsonObject();
        foreach (var (status, schema) in call.Answers)
        {
            var answer = new JsonObject { ["description"] = status == 202 ? "Accepted, and durable." : "Done.", ["content"] = Json(Ref(schema)) };
            if (schema == "Graph") answer["content"]!["text/plain"] = new JsonObject { ["schema"] = Text() };
            responses[status.ToString()] = answer;
        }
        if (call.Events.Length > 0) responses["200"] = Stream(call);
        foreach (var status in call.Problems)
            responses[status.ToString()] = new JsonObject { ["description"] = Reasons[status], ["content"] = Json(Ref("Problem"), "application/problem+json") };
        responses["default"] = new JsonObject { ["description"] = "Any other error.", ["content"] = Json(Ref("Problem"), "application/problem+json") };

        var inPath = PathParameters.Where(p => call.Path.Contains($"{{{p.Key}}}", StringComparison.Ordinal)).Select(p => Parameter(p.Key, "path", Text(), p.Value, required: true));
        var others = parameters.Select(name => Parameter(name, Parameters[name].In, Parameters[name].Schema, Parameters[name].Meaning, required: false));
        var operation = new JsonObject
        {
            ["tags"] = new JsonArray(call.Path.Split('/') is ["", "api", _, var area, ..] ? area : "health"),
            ["summary"] = call.Summary,
            ["parameters"] = new JsonArray([.. inPath, .. others]),
            ["responses"] = responses,
        };
        if (body is not null) operation["requestBody"] = body;
        return operation;
    }

    /// <summary>OpenAPI has no word for the events of a stream: the description names them, and <c>x-events</c> says the schema of each one's data.</summary>
    private static JsonObject Stream(Call call) => new()
    {
        ["description"] = "A stream of server-sent events. The data of each is JSON: " + string.Join(", ", call.Events.Select(e => $"`{e.Event}` a {e.Schema}")) + ".",
        ["content"] = Json(Text(), "text/event-stream"),
        ["x-events"] = new JsonObject(call.Events.Select(e => KeyValuePair.Create<string, JsonNode?>(e.Event, Ref(e.Schema)))),
    };

    private static JsonObject Parameter(string name, string where, JsonObject schema, string meaning, bool required) => new()
    {
        ["name"] = name, ["in"] = where, ["required"] = required, ["description"] = meaning, ["schema"] = schema.DeepClone(),
    };

    private static JsonObject? Content(string? schema, bool required, JsonNode? example = null)
    {
        if (schema is null) return null;
        var content = Json(Ref(schema), example: example);
        if (schema == "Batch") content["application/x-ndjson"] = new JsonObject { ["schema"] = Ref("BatchItem") };
        return new JsonObject { ["required"] = required, ["content"] = content };
    }

    private static JsonObject Json(JsonObject schema, string type = "application/json", JsonNode? example = null)
    {
        var media = new JsonObject { ["schema"] = schema };
        if (example is not null) media["example"] = example;
        return new JsonObject { [type] = media };
    }

    private static JsonObject Shapes()
    {
        var error = OrNull(Object(("step", OrNull(Text())), ("code", Text()), ("message", Text())));
        var counts = Object([.. Words.Statuses.Select(status => (status, Whole(0)))]);
        var tags = new JsonObject { ["type"] = "object", ["additionalProperties"] = Text() };
        var kind = OneOf([.. Enum.GetNames<StepKind>().Select(name => name.ToLowerInvariant())]);
        var health = Object(("status", Text()));
        health["properties"]!["store"] = OneOf("good", "low", "down");
        health["properties"]!["detail"] = OrNull(Text());
        var lane = OneOf("none", "run", "held", "ok", "no");
        var phase = OneOf("try", "confirm", "cancel", "do", "compensate", "check");
        var outcome = OneOf("ok", "refused", "error", "busy");
        (string, JsonObject)[] rates =
            [.. ((string[])["started", "completed", "compensated", "terminated", "failed"]).Select(name => (name + "PerSecond", Number()))];
        var latency = Object(("p50", Number()), ("p95", Number()), ("p99", Number()));
        var unfinished = Object([.. Words.Statuses.Take((int)SagaStatus.Completed).Select(status => (status, Whole(0)))]);
        (string, JsonObject)[] head =
        [
            ("id", Text()), ("definition", Text()), ("version", Whole(1)), ("status", OneOf(Words.Statuses)), ("paused", Flag()), ("mixed", Flag()),
            ("priority", Whole(0, 9)), ("startedAt", Time()), ("updatedAt", Time()), ("committedAt", OrNull(Time())), ("finishedAt", OrNull(Time())),
            ("traceId", OrNull(Text())), ("tags", tags), ("error", error), ("waitingFor", OrNull(Text())),
        ];
        var step = Object(("name", Text()), ("kind", OrNull(kind)), ("status", OneOf(Enum.GetNames<StepStatus>())), ("stuck", Flag()), ("phase", OrNull(phase)),
            ("first", lane), ("second", lane), ("attempts", Whole(0)), ("failures", Whole(0)), ("nextAttemptAt", OrNull(Time())), ("timesOutAt", OrNull(Time())),
            ("startedAt", OrNull(Time())), ("finishedAt", OrNull(Time())), ("command", Any()), ("result", Any()), ("error", error), ("after", Many(Text())));
        var summary = Object([.. head, ("committed", Flag()), ("step", OrNull(Text())), ("phase", OrNull(phase)), ("stepError", error), ("attempts", OrNull(Whole(0))),
            ("nextAttemptAt", OrNull(Time())),
            ("steps", Many(Object(("name", Text()), ("status", OneOf(Enum.GetNames<StepStatus>())), ("first", lane), ("second", lane))))]);
        var retry = Object(("attempts", Whole(1)), ("first", Text()), ("max", Text()), ("factor", Number()));
        (string, JsonObject)[] drawn =
        [
            ("name", Text()), ("kind", kind), ("after", Many(Text())), ("pivot", Flag()), ("readOnly", Flag()), ("timeout", Text()), ("retry", retry),
        ];
        // Only what a step has is there: where its phases go, and what differs from the defaults.
        var definitionStep = Object(drawn);
        foreach (var name in (string[])["participant", "try", "confirm", "cancel", "do", "compensate", "check", "callbackWithin"]) definitionStep["properties"]![name] = Text();
        definitionStep["properties"]!["noRetryOn"] = Many(Text());
        definitionStep["properties"]!["refuseOn"] = Many(Whole(100, 599));
        definitionStep["properties"]!["headers"] = tags.DeepClone();
        (string, JsonObject)[] definition =
        [
            ("name", Text()), ("version", Whole(1)), ("source", OneOf("code", "file", "rest", "inline")), ("fingerprint", Text()), ("timeout", OrNull(Text())), ("pivot", OrNull(Text())),
            ("steps", Many(Ref("DefinitionStep"))),
        ];
        var item = Required(Object(("id", Text()), ("input", Any()), ("tags", tags)), "input");
        var graph = Object(("name", Text()), ("version", Whole(1)), ("steps", Many(Ref("DefinitionStep"))));
        graph["properties"]!["timeout"] = Text();
        var verdict = OneOf("holds", "violated", "bounded");
        var action = OneOf("cancel", "retry", "pause", "resume", "terminate");
        // The listing's parameters: a text, or several where the listing takes several.
        var filter = Required(Object([.. Calls.Filter.Select(name => (name, name is "status" or "tag"
            ? new JsonObject { ["anyOf"] = new JsonArray(Text(), Many(Text())) } : name.StartsWith("started", StringComparison.Ordinal) ? Time() : Text()))]));
        return new JsonObject
        {
            ["Saga"] = Object([.. head, ("input", Any()), ("result", Any()), ("deadline", OrNull(Time())),
                ("actions", Many(OneOf("cancel", "retry", "pause", "resume", "terminate", "resolve"))), ("steps", Many(step))]),
            ["SagaSummary"] = summary,
            ["SagaPage"] = Object(("items", Many(Ref("SagaSummary"))), ("next", OrNull(Text()))),
            ["HistoryPage"] = Object(("items", Many(Ref("HistoryEntry"))), ("next", OrNull(Text()))),
            ["HistoryEntry"] = Object(("seq", Whole(1)), ("time", Time()), ("event", Text()), ("step", OrNull(Text())), ("phase", OrNull(phase)), ("attempt", OrNull(Whole(1))),
                ("outcome", OrNull(outcome)), ("detail", OrNull(Text())), ("by", OrNull(Text())), ("reason", OrNull(Text()))),
            ["Counts"] = Object(("byStatus", counts)),
            ["Stats"] = Object([("byStatus", counts), .. rates, ("latencyMs", latency), ("oldestUnfinishedAt", OrNull(Time()))]),
            ["StatsByDefinition"] = Object(("items", Many(Object(("definition", Text()), ("version", Whole(1)), ("stats", Ref("Stats")))))),
            ["StatsSeries"] = Object(("definition", OrNull(Text())), ("span", Text()),
                ("items", Many(Object([("time", Time()), .. rates, ("latencyMs", OrNull(latency)), ("inFlight", unfinished)])))),
            ["Failures"] = Object(("window", Text()), ("span", Text()), ("omitted", Whole(0)), ("items", Many(Ref("FailureGroup")))),
            ["FailureGroup"] = Object(("definition", Text()), ("version", Whole(1)), ("step", OrNull(Text())), ("phase", OrNull(phase)), ("code", Text()), ("message", Text()),
                ("refused", Flag()), ("count", Whole(0)), ("byStatus", counts), ("attempts", Whole(0)), ("firstAt", Time()), ("lastAt", Time()), ("series", Many(Whole(0)))),
            ["Waiting"] = Object(("byKind", Object([.. Words.WaitKinds.Select(kind => (kind, Whole(0)))])), ("items", Many(Ref("WaitingStep")))),
            ["WaitingStep"] = Object(("saga", Text()), ("definition", Text()), ("version", Whole(1)), ("status", OneOf(Words.Statuses)), ("paused", Flag()), ("step", Text()),
                ("phase", OrNull(phase)), ("kind", OneOf(Words.WaitKinds)), ("waitingFor", OrNull(Text())), ("since", Time()), ("dueAt", OrNull(Time())), ("attempts", Whole(0)),
                ("failures", Whole(0)), ("stuck", Flag()), ("error", error)),
            ["Nodes"] = Object(("items", Many(Object(("id", Text()), ("startedAt", Time()), ("heartbeatAt", Time()), ("alive", new JsonObject { ["type"] = "boolean" }), ("sagas", Whole(0)))))),
            ["Bus"] = Object(("bus", Text()), ("status", OneOf("good", "held")), ("detail", OrNull(Text())), ("outgoing", Many(Object(("destination", Text()), ("waiting", Whole(0))))),
                ("queues", Many(Object(("name", Text()), ("messages", Whole(0)), ("consumers", Whole(0)))))),
            ["DeadLetters"] = Object(("kept", Flag()), ("count", Whole(0)),
                ("items", Many(Object(("id", Text()), ("queue", Text()), ("at", Time()), ("reason", Text()), ("bytes", Whole(0)), ("body", Text()))))),
            ["DeadLetterAsked"] = Object(("id", Text())),
            ["Missed"] = Object(("count", Whole(1))),
            ["Definitions"] = Object(("items", Many(Ref("DefinitionSummary")))),
            ["DefinitionSummary"] = Object(definition),
            ["Definition"] = Object([.. definition, ("versions", Many(Whole(1))),
                ("inFlight", Object(("byVersion", Many(Object(("version", Whole(1)), ("sagas", Whole(0))))), ("byStatus", unfinished),
                    ("steps", Many(Object(("name", Text()), ("first", Whole(0)), ("second", Whole(0)), ("held", Whole(0)), ("retrying", Whole(0)), ("stuck", Whole(0))))))),
                ("inputSchema", Any()), ("resultSchema", Any()), ("json", Any())]),
            ["Graph"] = graph,
            ["DefinitionStep"] = definitionStep,
            ["DefinitionJson"] = Rebased(JsonNode.Parse(DefinitionJson.Schema.Utf8.Span)!, "#/components/schemas/DefinitionJson").AsObject(),
            ["Schema"] = new JsonObject { ["type"] = "object", ["description"] = "A JSON Schema, 2020-12." },
            ["Health"] = health,
            ["Input"] = new JsonObject { ["description"] = "The saga's input: any JSON that fits the definition's input schema." },
            ["Batch"] = Many(Ref("BatchItem")),
            ["BatchItem"] = item,
            ["BatchOutcomes"] = Object(("items", Many(Object(("id", OrNull(Text())), ("status", OneOf("accepted", "exists", "refused")),
                ("problem", new JsonObject { ["anyOf"] = new JsonArray(Ref("Problem"), new JsonObject { ["type"] = "null" }) }))))),
            ["Reason"] = Required(Object(("reason", Text())), "reason"),
            ["InlineStart"] = Required(Object(("definition", Ref("DefinitionJson")), ("id", Text()), ("input", Any()), ("tags", tags)), "definition"),
            ["OperationStart"] = Required(Object(("action", action), ("filter", filter), ("reason", Text()), ("dryRun", Flag())), "action", "filter", "reason"),
            ["Operation"] = Object(("id", Text()), ("action", action), ("filter", filter), ("reason", Text()), ("by", Text()), ("status", OneOf("running", "done", "cancelled")),
                ("matched", Whole(0)), ("done", Whole(0)), ("failed", Whole(0)), ("errors", Many(Object(("id", Text()), ("message", Text())))),
                ("startedAt", Time()), ("updatedAt", Time()), ("finishedAt", OrNull(Time())), ("cancelledBy", OrNull(Text())), ("cancelReason", OrNull(Text()))),
            ["OperationPage"] = Object(("items", Many(Ref("Operation"))), ("next", OrNull(Text()))),
            ["AuditPage"] = Object(("items", Many(Ref("AuditEntry"))), ("next", OrNull(Text()))),
            ["AuditEntry"] = Object(("id", Text()), ("at", Time()), ("by", Text()),
                ("action", OneOf("cancel", "retry", "pause", "resume", "terminate", "resolve", "put", "stop", "replay", "discard")),
                ("kind", OneOf("saga", "operation", "definition", "dead-letter")), ("target", Text()), ("detail", OrNull(Text())), ("reason", Text())),
            ["Matched"] = Object(("matched", Whole(0))),
            ["VerifyBounds"] = Required(Object(("attempts", Whole(1, 5)), ("crashes", Whole(0, 7)), ("duplicates", Whole(0, 7)), ("drops", Whole(0, 7)), ("takeovers", Whole(0, 7)),
                ("pauses", Whole(0, 7)), ("cancel", Flag()), ("errors", Flag()), ("busy", Flag()), ("maxStates", Whole(1)))),
            ["Verification"] = Object(("verdict", verdict), ("states", Whole(0)), ("transitions", Whole(0)), ("seconds", Number()), ("bounds", Text()), ("promise", OrNull(Text())),
                ("runs", Many(Object(("verdict", verdict), ("bounds", Text()), ("states", Whole(0)), ("transitions", Whole(0)), ("depth", Whole(0))))),
                ("notRun", Many(Text())),
                ("counterexample", Many(Object(("text", Text()), ("from", Text()), ("to", Text()), ("step", OrNull(Text())), ("phase", OrNull(phase)))))),
            ["Resolve"] = Required(Object(("outcome", OneOf("done", "notDone")), ("result", Any()), ("reason", Text())), "outcome", "reason"),
            ["Callback"] = Required(Object(("outcome", OneOf("ok", "refused", "error")), ("result", Any()), ("code", Text()), ("message", Text())), "outcome"),
            ["Problem"] = Required(Object(("type", Text()), ("title", Text()), ("status", Whole(400, 599)), ("detail", Text()), ("parameter", Text()), ("path", Text()),
                ("traceId", Text()), ("errors", Many(Object(("path", Text()), ("message", Text()))))), "type", "title", "status", "detail"),
        };
    }

    /// <summary>An object whose properties are all there, null where there is nothing to say: what answers are. <see cref="Required"/> says otherwise.</summary>
    private static JsonObject Object(params (string Name, JsonObject Schema)[] properties)
    {
        var all = new JsonObject();
        foreach (var (name, schema) in properties) all[name] = schema.DeepClone();
        return Required(new JsonObject { ["type"] = "object", ["properties"] = all }, [.. properties.Select(property => property.Name)]);
    }

    private static JsonObject Required(JsonObject schema, params string[] names)
    {
        schema["required"] = new JsonArray([.. names.Select(name => JsonValue.Create(name))]);
        return schema;
    }

    private static JsonObject OrNull(JsonObject schema)
    {
        var copy = schema.DeepClone().AsObject();
        copy["type"] = new JsonArray(copy["type"]!.GetValue<string>(), "null");
        (copy["enum"] as JsonArray)?.Add(null);
        return copy;
    }

    private static JsonObject Ref(string schema) => new() { ["$ref"] = "#/components/schemas/" + schema };

    private static JsonObject Many(JsonObject items) => new() { ["type"] = "array", ["items"] = items.DeepClone() };

    private static JsonObject OneOf(params string[] words) => new() { ["type"] = "string", ["enum"] = new JsonArray([.. words.Select(word => JsonValue.Create(word))]) };

    private static JsonObject Text() => new() { ["type"] = "string" };

    private static JsonObject Time() => new() { ["type"] = "string", ["format"] = "date-time" };

    private static JsonObject Flag() => new() { ["type"] = "boolean" };

    private static JsonObject Number() => new() { ["type"] = "number" };

    private static JsonObject Any() => [];

    private static JsonObject Whole(int least, int? most = null)
    {
        var schema = new JsonObject { ["type"] = "integer", ["minimum"] = least };
        if (most is { } max) schema["maximum"] = max;
        return schema;
    }
}
