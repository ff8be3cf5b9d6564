using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>An error as RFC 9457 words it. <see cref="Type"/> and <see cref="Status"/> are for programs and stay; <see cref="Detail"/> says what happened, with the value, and what to do.</summary>
internal sealed record Problem(string Name, string Title, int Status, string Detail)
{
    /// <summary>What clients switch on.</summary>
    public string Type => "urn:sagas:" + Name;

    /// <summary>The query parameter or header that is wrong.</summary>
    public string? Parameter { get; init; }

    /// <summary>The JSON path of the fault in the body.</summary>
    public string? Path { get; init; }

    /// <summary>All the faults of a definition.</summary>
    public IReadOnlyList<DefinitionFault>? Errors { get; init; }

    /// <summary>Seconds after which a repeat may succeed.</summary>
    public int? RetryAfter { get; init; }

    /// <summary>The methods that the route does have.</summary>
    public string? Allow { get; init; }

    /// <summary>Finds the log entry of an internal error.</summary>
    public string? TraceId { get; init; }

    public static Problem BadParameter(string name, string value, string expected) =>
        new("bad-parameter", "Bad parameter", 400, $"Parameter '{name}' is '{Short(value)}'. Give {expected}.") { Parameter = name };

    public static Problem BadHeader(string name, string value, string expected) =>
        new("bad-header", "Bad header", 400, $"Header {name} is '{Short(value)}'. Give {expected}.") { Parameter = name };

    public static Problem MalformedJson(string path, long line, string fault) =>
        new("malformed-json", "Malformed JSON", 400, $"The body is not well-formed JSON at {path}, line {line}: {fault} Send one JSON value in UTF-8.") { Path = path };

    public static Problem BadBody(string path, string fault) => new("bad-body", "Bad body", 400, fault) { Path = path };

    public static Problem BadInput(string definition, string path, string fault) =>
        new("bad-input", "The input does not fit", 400, $"The input does not fit '{definition}' at {path}: {fault}. GET /api/v1/definitions/{definition} has its schema.") { Path = path };

    public static Problem BadDefinition(IReadOnlyList<DefinitionFault> faults) =>
        new("bad-definition", "The definition is refused", 400, $"{(faults.Count == 1 ? "1 fault" : $"{faults.Count} faults")} in the definition; nothing of it was stored. "
            + $"{faults[0].Path}: {faults[0].Message}{(faults.Count > 1 ? " The others are in 'errors'." : "")} GET /api/v1/definitions/schema has the format.") { Path = faults[0].Path, Errors = faults };

    public static Problem VersionTaken(string detail) => new("version-taken", "Another graph has this version", 409, detail);

    public static Problem UnknownDefinition(string name, int? version, string? detail = null) =>
        new("unknown-definition", "Unknown definition", 404, detail ??
            $"No definition '{Short(name)}'{(version is { } v ? $" version {v}" : "")} is loaded. GET /api/v1/definitions lists those that are.");

    public static Problem UnknownSaga(SagaId id) =>
        new("unknown-saga", "Unknown saga", 404, $"There is no saga '{Short(id.Value)}'. It was never started, or it ended longer ago than sagas are kept. Check the id.");

    public static Problem UnknownOperation(string id) =>
        new("unknown-operation", "Unknown operation", 404, $"There is no operation '{Short(id)}', or it ended longer ago than sagas are kept. GET /api/v1/operations lists them.");

    public static Problem OperationEnded(Operation operation) =>
        new("wrong-state", "Wrong state", 409, $"Operation '{operation.Id}' has ended ({(operation.Status == OperationStatus.Done ? "done" : "cancelled")}): there is nothing to stop. Start another to undo what it did.");

    public static Problem UnknownStep(string step, SagaDefinition saga) =>
        new("unknown-step", "Unknown step", 404, $"'{saga.Name}' version {saga.Version} has no step '{Short(step)}'. Its steps are {string.Join(", ", saga.Steps.Select(s => s.Name))}.");

    public static Problem UnknownRoute(string method, string path) =>
        new("unknown-route", "Not found", 404, $"There is no {method} {Short(path)} here. GET /swagger shows all calls.");

    public static Problem WrongMethod(string method, string path, string allow) =>
        new("method-not-allowed", "Method not allowed", 405, $"{Short(path)} does not take {method}. Use {allow}.") { Allow = allow };

    public static Problem WrongMediaType(string? got, string expected) =>
        new("unsupported-media-type", "Unsupported media type", 415, $"The body came {(string.IsNullOrEmpty(got) ? "without a Content-Type" : $"as '{Short(got)}'")}. Send it as {expected}.");

    public static Problem TooLarge(string what, long limit) =>
        new("too-large", "Too large", 413, $"{what} is over {Bytes(limit)}. Send less, or a reference to where the data is kept.");

    public static Problem Busy(string? detail = null) =>
        new("busy", "Too busy", 429, detail ?? "The engine is full; nothing was accepted. Repeat in a second, with the same id.") { RetryAfter = 1 };

    public static Problem TooManyStreams() =>
        new("too-many-streams", "Too many streams", 429, $"{SagaFeed.MaxListeners} clients listen already. Close streams that nobody reads, or ask again from time to time.") { RetryAfter = 5 };

    public static Problem WrongState(string? detail, SagaState? saga) =>
        new("wrong-state", "Wrong state", 409, detail ?? $"Saga '{saga?.Id}' is {saga?.Status}: that cannot be done now. Look at its status and try what fits it.");

    public static Problem IdReused(SagaId id, string? detail) =>
        new("id-reused", "The id was used before", 422, detail ?? $"Saga '{id}' was started before with another definition or input. Give this start an id of its own.");

    public static Problem StoreDown() =>
        new("store-unavailable", "Store unavailable", 503, "The store cannot say whether this happened. Repeat with the same id; a repeat never starts a second saga.") { RetryAfter = 5 };

    public static Problem BusDown(string detail) => new("bus-unavailable", "Bus unavailable", 503, detail) { RetryAfter = 5 };

    public static Problem UnknownDeadLetter(string id) =>
        new("unknown-dead-letter", "Unknown dead letter", 404, $"There is no dead letter '{Short(id)}': it was replayed or discarded, or it never was. GET /api/v1/deadletters lists them.");

    public static Problem NotReady(string detail) => new("not-ready", "Not ready", 503, detail) { RetryAfter = 5 };

    public static Problem BadRequest(int status, string detail) =>
        new(status == 413 ? "too-large" : "bad-request", status == 413 ? "Too large" : "Bad request", status, detail);

    public static Problem Internal(string? trace) =>
        new("internal-error", "Internal error", 500, $"The engine failed to answer; this is a fault of its own, and it is logged{(trace is null ? "" : $" under '{trace}'")}. Repeat with the same id, and report it if it stays.") { TraceId = trace };

    /// <summary>Ends the request with this problem.</summary>
    public ProblemException Thrown() => new(this);

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type"u8, Type);
        json.WriteString("title"u8, Title);
        json.WriteNumber("status"u8, Status);
        json.WriteString("detail"u8, Detail);
        if (Parameter is not null) json.WriteString("parameter"u8, Parameter);
        if (Path is not null) json.WriteString("path"u8, Path);
        if (TraceId is not null) json.WriteString("traceId"u8, TraceId);
        if (Errors is not null)
        {
            json.WriteStartArray("errors"u8);
            foreach (var (path, message) in Errors)
            {
                json.WriteStartObject();
                json.WriteString("path"u8, path);
                json.WriteString("message"u8, message);
                json.WriteEndObject();
            }
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }

    public Task WriteAsync(HttpContext http)
    {
        if (RetryAfter is { } seconds) http.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        if (Allow is not null) http.Response.Headers.Allow = Allow;
        return Answer.JsonAsync(http, Status, Write, "application/problem+json");
    }

    /// <summary>A client's text, short enough to be said back to it.</summary>
    internal static string Short(string text) => text.Length <= 100 ? text : text[..(char.IsHighSurrogate(text[99]) ? 99 : 100)] + "…";

    private static string Bytes(long count) => count % (1 << 20) == 0 ? $"{count >> 20} MiB" : count % 1024 == 0 ? $"{count >> 10} KiB" : $"{count} bytes";
}

/// <summary>Carries a problem from where a request is read to where it is answered.</summary>
internal sealed class ProblemException(Problem problem) : Exception(problem.Detail)
{
    public Problem Problem { get; } = problem;
}
