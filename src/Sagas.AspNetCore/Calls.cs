using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>One call of the API: what is mapped and what is documented.</summary>
/// <param name="Method">GET, POST or PUT.</param>
/// <param name="Path">The route.</param>
/// <param name="Summary">One line.</param>
/// <param name="Answer">Answers it.</param>
internal sealed record Call(string Method, string Path, string Summary, RequestDelegate Answer)
{
    /// <summary>Names from <see cref="OpenApi"/>'s catalogue; those in the path are found there.</summary>
    public string[] Parameters { get; init; } = [];

    /// <summary>The body's schema, from the catalogue; null: no body.</summary>
    public string? Body { get; init; }

    /// <summary>Whether the body must be there. Default true.</summary>
    public bool NeedsBody { get; init; } = true;

    /// <summary>Status and schema of what is no error.</summary>
    public (int Status, string Schema)[] Answers { get; init; } = [];

    /// <summary>For a stream of server-sent events: their names and the schemas of their data.</summary>
    public (string Event, string Schema)[] Events { get; init; } = [];

    /// <summary>The errors that this call has beside 500.</summary>
    public int[] Problems { get; init; } = [];
}

/// <summary>The API's table of contents.</summary>
internal static class Calls
{
    public static readonly string[] Filter = ["status", "definition", "tag", "step", "error", "q", "startedAfter", "startedBefore"];

    public static readonly Call[] All =
    [
        new("POST", "/api/v1/definitions/{name}/sagas", "Start a saga", Starts.One)
        {
            Parameters = ["id", "Idempotency-Key", "version", "wait", "tag", "priority", "traceparent"], Body = "Input",
            Answers = [(202, "Saga"), (200, "Saga")], Problems = [400, 404, 413, 415, 422, 429, 503],
        },
        new("POST", "/api/v1/definitions/{name}/sagas/batch", "Start many sagas", Batches.Start)
        {
            Parameters = ["version", "tag", "priority"], Body = "Batch", Answers = [(202, "BatchOutcomes")], Problems = [400, 404, 413, 415, 429, 503],
        },
        new("POST", "/api/v1/sagas", "Start a saga with a definition of its own", Starts.Inline)
        {
            Parameters = ["id", "Idempotency-Key", "wait", "tag", "priority", "traceparent"], Body = "InlineStart",
            Answers = [(202, "Saga"), (200, "Saga")], Problems = [400, 413, 415, 422, 429, 503],
        },
        new("GET", "/api/v1/sagas", "List sagas, newest first", Reads.List)
        {
            Parameters = [.. Filter, "limit", "cursor"], Answers = [(200, "SagaPage")], Problems = [400, 503],
        },
        new("GET", "/api/v1/sagas/counts", "Count sagas by status", Reads.Counts) { Parameters = Filter, Answers = [(200, "Counts")], Problems = [400, 503] },
        new("GET", "/api/v1/sagas/{id}", "One saga with its steps", Reads.Find) { Parameters = ["wait"], Answers = [(200, "Saga")], Problems = [400, 404, 503] },
        new("GET", "/api/v1/sagas/{id}/definition", "The definition that a saga runs, also one of its own", Reads.Definition)
        {
            Answers = [(200, "Definition")], Problems = [400, 404, 503],
        },
        new("GET", "/api/v1/sagas/{id}/history", "What happened to a saga, oldest first", Reads.History)
        {
            Parameters = ["limit", "cursor"], Answers = [(200, "HistoryPage")], Problems = [400, 404, 503],
        },
        new("GET", "/api/v1/sagas/{id}/events", "A saga live: now, at each change, and its end", Streams.OneSaga)
        {
            Events = [("saga", "SagaSummary"), ("end", "SagaSummary")], Problems = [400, 404, 429, 503],
        },
        new("GET", "/api/v1/feed", "Sagas that match, as they change, and numbers each second", Streams.Feed)
        {
            Parameters = Filter, Events = [("saga", "SagaSummary"), ("stats", "Stats"), ("missed", "Missed")], Problems = [400, 429],
        },
        Operator("cancel", "Turn a saga back", (reason, by) => new SagaEvent.CancelRequested(reason, by)),
        Operator("retry", "Ask waiting steps again at once", (reason, by) => new SagaEvent.RetryRequested(reason, by)),
        Operator("pause", "Hold a saga: nothing new is sent", (reason, by) => new SagaEvent.PauseRequested(reason, by)),
        Operator("resume", "Let a held saga go on", (reason, by) => new SagaEvent.ResumeRequested(reason, by)),
        Operator("terminate", "End a saga where it stands, half done", (reason, by) => new SagaEvent.TerminateRequested(reason, by)),
        new("POST", "/api/v1/sagas/{id}/steps/{step}/resolve", "Say what became of a stuck step", Operators.Resolve)
        {
            Parameters = ["X-Operator"], Body = "Resolve", Answers = [(202, "Saga")], Problems = [400, 404, 409, 413, 415, 429, 503],
        },
        new("POST", "/api/v1/sagas/{id}/steps/{step}/callback", "The outcome of a command that was accepted with 202", Callbacks.Hear)
        {
            Parameters = ["phase", "attempt"], Body = "Callback", Answers = [(200, "Saga")], Problems = [400, 404, 409, 413, 415, 429, 503],
        },
        new("POST", "/api/v1/operations", "Ask the same of all sagas that match", Operations.Start)
        {
            Parameters = ["X-Operator"], Body = "OperationStart", Answers = [(202, "Operation"), (200, "Matched")], Problems = [400, 413, 415, 429, 503],
        },
        new("GET", "/api/v1/operations", "List operations, newest first", Operations.List)
        {
            Parameters = ["limit", "cursor"], Answers = [(200, "OperationPage")], Problems = [400, 503],
        },
        new("GET", "/api/v1/operations/{id}", "One operation and its progress", Operations.Find) { Answers = [(200, "Operation")], Problems = [404, 503] },
        new("POST", "/api/v1/operations/{id}/cancel", "Stop an operation; what it did stays", Operations.Cancel)
        {
            Parameters = ["X-Operator"], Body = "Reason", Answers = [(202, "Operation")], Problems = [400, 404, 409, 413, 415, 503],
        },
        new("GET", "/api/v1/audit", "Who did what to sagas, operations, definitions and dead letters, and why: newest first", Audit.List)
        {
            Parameters = ["limit", "cursor"], Answers = [(200, "AuditPage")], Problems = [400, 503],
        },
        new("GET", "/api/v1/definitions", "List definitions", Definitions.List) { Answers = [(200, "Definitions")] },
        new("GET", "/api/v1/definitions/schema", "The JSON Schema of a definition", Definitions.Schema) { Answers = [(200, "Schema")] },
        new("PUT", "/api/v1/definitions/{name}", "Add a definition in JSON", Definitions.Put)
        {
            Parameters = ["reason", "X-Operator"], Body = "DefinitionJson", Answers = [(201, "Definition"), (200, "Definition")], Problems = [400, 409, 413, 415, 503],
        },
        new("GET", "/api/v1/definitions/{name}", "One definition: graph, schemas, policies", Definitions.Find)
        {
            Parameters = ["version"], Answers = [(200, "Definition")], Problems = [400, 404],
        },
        new("GET", "/api/v1/definitions/{name}/graph", "A definition's graph as JSON or for drawing", Definitions.Graph)
        {
            Parameters = ["format", "version"], Answers = [(200, "Graph")], Problems = [400, 404],
        },
        new("POST", "/api/v1/definitions/{name}/verify", "Try every order of every event and fault within bounds", Verify.Run)
        {
            Parameters = ["version"], Body = "VerifyBounds", NeedsBody = false, Answers = [(200, "Verification")], Problems = [400, 404, 413, 415, 429],
        },
        new("GET", "/api/v1/stats", "Numbers: counts of all sagas, rates of the last minute", Numbers.Stats)
        {
            Parameters = ["definition"], Answers = [(200, "Stats")], Problems = [404, 503],
        },
        new("GET", "/api/v1/stats/definitions", "The same numbers for each definition", Numbers.ByDefinition) { Answers = [(200, "StatsByDefinition")], Problems = [503] },
        new("GET", "/api/v1/stats/series", "Numbers over time, of each node since it started: 5 seconds apart up to 15 minutes, else a minute", Numbers.Series)
        {
            Parameters = ["definition", "minutes"], Answers = [(200, "StatsSeries")], Problems = [400, 404],
        },
        new("GET", "/api/v1/failures", "What fails, grouped: unfinished sagas, and those that ended in the last 24 hours since their node started", Numbers.Failures)
        {
            Parameters = ["definition"], Answers = [(200, "Failures")], Problems = [404],
        },
        new("GET", "/api/v1/waiting", "The steps that wait, the longest first", Numbers.Waiting)
        {
            Parameters = [.. Filter, "kind", "limit"], Answers = [(200, "Waiting")], Problems = [400],
        },
        new("GET", "/api/v1/nodes", "The engine's nodes and how many sagas each owns", Reads.Nodes) { Answers = [(200, "Nodes")], Problems = [503] },
        new("GET", "/api/v1/bus", "What waits to be sent, and the bus's queues", Buses.Find) { Answers = [(200, "Bus")] },
        new("GET", "/api/v1/deadletters", "Messages from the bus that nobody could read, the oldest first", DeadLetters.List)
        {
            Parameters = ["limit"], Answers = [(200, "DeadLetters")], Problems = [400, 503],
        },
        DeadLetter("replay", "Put a dead letter back on its queue", "replayed", static (kept, id, cancel) => kept.ReplayAsync(id, cancel)),
        DeadLetter("discard", "Throw a dead letter away", "discarded", static (kept, id, cancel) => kept.DiscardAsync(id, cancel)),
        new("GET", "/health/live", "Whether the process is up", Health.Live) { Answers = [(200, "Health")] },
        new("GET", "/health/ready", "Whether sagas can be started", Health.Ready) { Answers = [(200, "Health")], Problems = [503] },
    ];

    private static Call Operator(string word, string summary, Func<string, string, SagaEvent> request) =>
        new("POST", $"/api/v1/sagas/{{id}}/{word}", summary, http => Operators.Ask(http, word, request))
        {
            Parameters = ["X-Operator"], Body = "Reason", Answers = [(202, "Saga")], Problems = [400, 404, 409, 413, 415, 429, 503],
        };

    private static Call DeadLetter(string word, string summary, string done, Func<IDeadLetters, string, CancellationToken, Task<bool>> ask) =>
        new("POST", $"/api/v1/deadletters/{{id}}/{word}", summary, http => DeadLetters.Ask(http, word, done, ask))
        {
            Parameters = ["X-Operator"], Body = "Reason", Answers = [(202, "DeadLetterAsked")], Problems = [400, 404, 413, 415, 503],
        };
}
