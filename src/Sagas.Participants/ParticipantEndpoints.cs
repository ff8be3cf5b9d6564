using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Net.Http.Headers;

namespace Sagas.Participants;

// The HTTP contract from its other end. Every command of every participant of this process has its URLs, each a POST:
//
//   ITccHandler    /{participant}/{command}/try    /{participant}/{command}/confirm    /{participant}/{command}/cancel
//   IStepHandler   /{participant}/{command}        /{participant}/{command}/compensate  /{participant}/{command}/check
//
// A request takes the same way as an item from the bus: its step's turn, the barrier, the handler. What it is for stands
// in its headers; its reply becomes the status:
//
//   ok                 200 with the result, 204 when there is none
//   refused            409, or 400 when the body does not fit the command
//   busy               503, Retry-After when the handler says when
//   error              500
//   the host stops     503

/// <summary>Serves participants over HTTP.</summary>
public static class ParticipantEndpoints
{
    // A settlement carries a command and a result, each of which may have this much.
    private const int MostPayload = 256 * 1024, MostSettlement = 2 * MostPayload + 64;

    private sealed record Fault(int Status, string Code, string Detail);

    /// <summary>
    /// Serves every handler of <c>AddSagaParticipants</c> by POST, with the barrier in front: a TCC command at <c>/{participant}/{command}/try</c>, <c>/confirm</c>
    /// and <c>/cancel</c>; a plain one at <c>/{participant}/{command}</c>, at <c>/compensate</c> below it when it undoes another, at <c>/check</c> when it only
    /// asks. A handler may be called over the bus too: both share the barrier.
    /// </summary>
    /// <param name="endpoints">The host, or a group of its routes.</param>
    /// <returns>All the endpoints, to put conventions on.</returns>
    /// <exception cref="InvalidOperationException">The host has no participants.</exception>
    public static IEndpointConventionBuilder MapSagaParticipants(this IEndpointRouteBuilder endpoints)
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        if (endpoints.ServiceProvider.GetService<IServiceProviderIsService>()?.IsService(typeof(ParticipantHost)) == false)
            throw new InvalidOperationException("MapSagaParticipants finds no participants. Call builder.Services.AddSagaParticipants(...) before builder.Build().");
        var host = endpoints.ServiceProvider.GetRequiredService<ParticipantHost>();
        var all = endpoints.MapGroup("");
        foreach (var participant in host.Participants.Select(host.Find))
        {
            foreach (var (command, handler) in participant.Handlers)
                foreach (var phase in Enum.GetValues<Phase>().Where(handler.Takes))
                    all.MapPost(Route(participant.Name, command, phase), http => AnswerAsync(http, host, participant, command, phase))
                        .WithDisplayName($"{phase.Word()} {participant.Name}/{command}");
            all.Map($"/{participant.Name}/{{**rest}}", http => WriteAsync(http, Nowhere(http, participant))).WithDisplayName($"404 {participant.Name}");
        }
        return all;
    }

    private static string Route(string participant, string command, Phase phase) =>
        $"/{participant}/{command}{(phase == Phase.Do ? "" : "/" + phase.Word())}";

    private static async Task AnswerAsync(HttpContext http, ParticipantHost host, Participant participant, string command, Phase phase)
    {
        try
        {
            var (item, fault) = await ReadAsync(http, command, phase);
            if (item is null) await WriteAsync(http, fault!);
            else await WriteAsync(http, await host.AskAsync(participant, item, http.RequestAborted));
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            // The engine has hung up: it asks again.
        }
        catch (OperationCanceledException)
        {
            http.Response.Headers.RetryAfter = "1";
            await WriteAsync(http, new Fault(503, "stopping", "This participant stops. Ask again."));
        }
        catch (BadHttpRequestException e)
        {
            await WriteAsync(http, new Fault(e.StatusCode, "bad-request", e.Message));
        }
    }

    // ── Request ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    private static async Task<(CommandItem?, Fault?)> ReadAsync(HttpContext http, string command, Phase phase)
    {
        var request = http.Request;
        if (!MediaTypeHeaderValue.TryParse(request.ContentType, out var type) || !(type.MediaType.Equals("application/json", StringComparison.OrdinalIgnoreCase) || type.Suffix.Equals("json", StringComparison.OrdinalIgnoreCase)))
            return (null, new Fault(415, "unsupported-media-type", $"The body came {(string.IsNullOrEmpty(request.ContentType) ? "without a Content-Type" : $"as '{Short(request.ContentType)}'")}. Send it as application/json."));

        var faults = new List<string>();
        var saga = Header("Saga-Id", "the saga's id");
        if (saga.Length > 0 && (saga.Length > 1024 || !saga.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or ':' or '-' or '[' or ']')))
            faults.Add($"Saga-Id is '{Short(saga)}'. Give letters, digits and . _ : -");
        var step = Header("Saga-Step", "the step's name");
        if (step.Length > 128 || !step.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '[' or ']'))
            faults.Add($"Saga-Step is '{Short(step)}'. Give 1 to 64 of A-Z a-z 0-9 _ -");
        var said = Header("Saga-Phase", $"'{phase.Word()}' here");
        if (said.Length > 0 && said != phase.Word())
            faults.Add($"Saga-Phase is '{Short(said)}', but {request.Path} is where {phase.Word()} goes. Call the URL of the phase");
        var attempt = 1;
        if (request.Headers["Saga-Attempt"].ToString() is { Length: > 0 } number && (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out attempt) || attempt < 1))
            faults.Add($"Saga-Attempt is '{Short(number)}'. Give a whole number from 1, or leave it out");
        var key = Wire.Key(saga, step, phase);
        if (faults.Count == 0 && request.Headers["Idempotency-Key"].ToString() is { Length: > 0 } given && given != key)
            faults.Add($"Idempotency-Key is '{Short(given)}', but these headers make it '{key}'. Send that, or leave it out");
        if (faults.Count > 0) return (null, new Fault(400, "bad-headers", string.Join(". ", faults) + "."));

        var isSettlement = phase is Phase.Confirm or Phase.Cancel or Phase.Compensate;
        var limit = isSettlement ? MostSettlement : MostPayload;
        if (await BodyAsync(http, limit) is not { } body)
            return (null, new Fault(413, "too-large", $"The body is over {limit} bytes. Send less, or a reference to where the data is kept."));
        if (FaultOf(body, isSettlement) is { } wrong) return (null, new Fault(400, "bad-body", wrong));
        return (new CommandItem(saga, step, phase, attempt, command, key, new Payload(body), null, "", TraceParent(request)), null);

        string Header(string name, string what)
        {
            var values = request.Headers[name];
            if (values.Count == 1 && !string.IsNullOrEmpty(values[0])) return values[0]!;
            faults.Add(values.Count > 1 ? $"Header {name} is there {values.Count} times. Send it once" : $"Header {name} is missing: {what}");
            return "";
        }
    }

    private static async Task<byte[]?> BodyAsync(HttpContext http, int limit)
    {
        if (http.Request.ContentLength > limit) return null;
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } most) most.MaxRequestBodySize = limit + 1;
        // What is declared is not yet sent: a large buffer grows with what arrives.
        var buffer = new byte[(int)Math.Min(http.Request.ContentLength ?? 4095, MostPayload) + 1];
        var count = 0;
        while (await http.Request.Body.ReadAsync(buffer.AsMemory(count), http.RequestAborted) is > 0 and var read)
        {
            count += read;
            if (count > limit) return null;
            if (count == buffer.Length) Array.Resize(ref buffer, Math.Min(buffer.Length * 2, limit + 1));
        }
        return buffer.AsSpan(0, count).ToArray();
    }

    /// <summary>What is wrong with a body; null: nothing.</summary>
    private static string? FaultOf(byte[] body, bool isSettlement)
    {
        if (body.Length == 0) return $"The body is empty. Send {(isSettlement ? "{\"command\":…,\"result\":…}" : "the command's JSON")}.";
        if (!Utf8.IsValid(body)) return "The body is not UTF-8. Send JSON in UTF-8.";
        try
        {
            using var document = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = SagaJson.Options.MaxDepth });
            var root = document.RootElement;
            if (!isSettlement) return null;
            if (root.ValueKind != JsonValueKind.Object) return "The body is no object. Send {\"command\":…,\"result\":…}, with result null when it is not known.";
            return root.TryGetProperty("command", out _) ? null : "The body has no 'command'. Send {\"command\":…,\"result\":…}, with result null when it is not known.";
        }
        catch (JsonException e)
        {
            return $"The body is not JSON, at line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}: {(e.Message.IndexOf(" LineNumber:", StringComparison.Ordinal) is >= 0 and var end ? e.Message[..end] : e.Message)}";
        }
    }

    /// <summary>What is no trace context is left out rather than refused: nobody's transaction fails for want of a trace.</summary>
    private static string? TraceParent(HttpRequest request) =>
        request.Headers.TraceParent.ToString() is { Length: 55 } text && text[2] == '-' && text[35] == '-' && text[52] == '-' ? text : null;

    // ── Answer ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    private static Task WriteAsync(HttpContext http, ReplyItem reply)
    {
        if (reply.InDoubt) http.Response.Headers["Saga-In-Doubt"] = "true";
        switch (reply.Outcome)
        {
            case Outcome.Ok when reply.Payload is null or { IsNull: true }:
                http.Response.StatusCode = 204;
                return Task.CompletedTask;
            case Outcome.Ok:
                http.Response.ContentType = "application/json";
                http.Response.ContentLength = reply.Payload.Utf8.Length;
                return http.Response.Body.WriteAsync(reply.Payload.Utf8, http.RequestAborted).AsTask();
            case Outcome.Busy:
                if (reply.RetryAfter is { } wait) http.Response.Headers.RetryAfter = Math.Max(1, (long)Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
                return WriteAsync(http, new Fault(503, "busy", reply.Message ?? "Busy: ask again later."));
            case Outcome.Refused:
                return WriteAsync(http, new Fault(reply.Code == "bad-command" ? 400 : 409, reply.Code ?? "refused", reply.Message ?? "Refused."));
            default:
                return WriteAsync(http, new Fault(reply.Code == "bad-command" ? 400 : 500, reply.Code ?? "error", reply.Message ?? "The handler failed."));
        }
    }

    private static Fault Nowhere(HttpContext http, Participant participant)
    {
        var routes = participant.Handlers.SelectMany(h => Enum.GetValues<Phase>().Where(h.Value.Takes).Select(phase => Route(participant.Name, h.Key, phase)));
        var found = routes.FirstOrDefault(route => http.Request.Path.Value!.EndsWith(route, StringComparison.OrdinalIgnoreCase));
        if (found is not null)
        {
            http.Response.Headers.Allow = "POST";
            return new Fault(405, "method-not-allowed", $"{http.Request.Path} does not take {http.Request.Method}. Use POST.");
        }
        return new Fault(404, "unknown-command", $"Participant '{participant.Name}' has no {Short(http.Request.Path)}. It takes POST to {string.Join(", ", routes)}.");
    }

    /// <summary>RFC 9457, with the <c>code</c> that engines and programs go by.</summary>
    private static async Task WriteAsync(HttpContext http, Fault fault)
    {
        http.Response.StatusCode = fault.Status;
        http.Response.ContentType = "application/problem+json";
        await using var json = new Utf8JsonWriter(http.Response.BodyWriter, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        json.WriteStartObject();
        json.WriteString("type"u8, "urn:sagas:participant:" + fault.Code);
        json.WriteString("title"u8, Title(fault.Status));
        json.WriteNumber("status"u8, fault.Status);
        json.WriteString("code"u8, fault.Code);
        json.WriteString("detail"u8, fault.Detail);
        json.WriteEndObject();
    }

    private static string Title(int status) => status switch
    {
        400 => "Bad request", 404 => "Unknown command", 405 => "Method not allowed", 409 => "Refused", 413 => "Too large", 415 => "Unsupported media type", 503 => "Busy", _ => "Failed",
    };

    private static string Short(string text) => text.Length <= 100 ? text : text[..(char.IsHighSurrogate(text[99]) ? 99 : 100)] + "…";
}
