using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>What participants post to <c>Saga-Callback</c> after a 202. Repeated and late ones are answered like the first, and change nothing.</summary>
internal static class Callbacks
{
    public static async Task Hear(HttpContext http)
    {
        var id = Query.IdOf(http);
        var step = Query.Route(http, "step");
        var phase = Query.Phase(http.Request);
        var attempt = Query.Attempt(http.Request);
        using var body = await Body.ObjectAsync(http, "{\"outcome\":\"ok\",\"result\":…}");
        var outcome = OutcomeOf(body.RootElement, step, phase, attempt);
        var engine = http.Engine();
        var saga = await engine.FindAsync(id, http.RequestAborted) ?? throw Problem.UnknownSaga(id).Thrown();
        var definition = engine.DefinitionOf(saga);
        if (definition is not null && definition.Find(step) is null) throw Problem.UnknownStep(step, definition).Thrown();
        var result = await engine.CallbackAsync(id, outcome, http.RequestAborted);
        switch (result.Outcome)
        {
            case RequestOutcome.NotFound: throw Problem.UnknownSaga(id).Thrown();
            case RequestOutcome.WrongState when result.Saga is not { Ended: true }: throw Problem.WrongState(result.Problem, result.Saga).Thrown();
            case RequestOutcome.Busy: throw Problem.Busy(result.Problem).Thrown();
        }
        saga = result.Saga ?? saga;
        await Answer.JsonAsync(http, 200, json => SagaWriter.Write(json, saga, definition));
    }

    private static SagaEvent.Replied OutcomeOf(JsonElement body, string step, Phase phase, int attempt)
    {
        var outcome = Text(body, "outcome") switch
        {
            "ok" => Outcome.Ok,
            "refused" => Outcome.Refused,
            "error" => Outcome.Error,
            _ => throw Problem.BadBody("$.outcome", "The body has no outcome, or not one of \"ok\", \"refused\" and \"error\". Say what became of the command.").Thrown(),
        };
        var result = outcome == Outcome.Ok && body.TryGetProperty("result", out var given) ? new Payload(JsonSerializer.SerializeToUtf8Bytes(given)) : null;
        return new SagaEvent.Replied(step, phase, attempt, outcome, result, Text(body, "code"), Text(body, "message"));
    }

    private static string? Text(JsonElement body, string name)
    {
        if (!body.TryGetProperty(name, out var value) || value.ValueKind == JsonValueKind.Null) return null;
        return value.ValueKind == JsonValueKind.String ? value.GetString()
            : throw Problem.BadBody($"$.{name}", $"'{name}' is no text. Send {{\"outcome\":\"ok\",\"result\":…}} or {{\"outcome\":\"refused\",\"code\":\"…\",\"message\":\"…\"}}.").Thrown();
    }
}
