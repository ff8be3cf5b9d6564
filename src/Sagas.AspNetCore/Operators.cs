using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>What operators ask of a saga. Every request has a reason, kept in the saga's history with who and when.</summary>
internal static class Operators
{
    public const int MaxReason = 1000;

    public static async Task Ask(HttpContext http, string word, Func<string, string, SagaEvent> request)
    {
        var id = Query.IdOf(http);
        var by = Query.Operator(http.Request);
        using var body = await Body.ObjectAsync(http, "{\"reason\":\"…\"}");
        var reason = ReasonOf(body.RootElement);
        await RequestAsync(http, id, request(reason, by), new(word, null, reason, by));
    }

    public static async Task Resolve(HttpContext http)
    {
        var id = Query.IdOf(http);
        var step = Query.Route(http, "step");
        var by = Query.Operator(http.Request);
        using var body = await Body.ObjectAsync(http, "{\"outcome\":\"done\",\"result\":…,\"reason\":\"…\"}");
        var resolved = ResolutionOf(body.RootElement, step, by);
        var saga = await http.Engine().FindAsync(id, http.RequestAborted) ?? throw Problem.UnknownSaga(id).Thrown();
        if (http.Engine().DefinitionOf(saga) is { } definition && definition.Find(step) is null)
            throw Problem.UnknownStep(step, definition).Thrown();
        await RequestAsync(http, id, resolved, new("resolve", $"{step}: {(resolved.Done ? "done" : "not done")}", resolved.Reason, by));
    }

    public static SagaEvent.StepResolved ResolutionOf(JsonElement body, string step, string by)
    {
        var outcome = body.TryGetProperty("outcome", out var word) && word.ValueKind == JsonValueKind.String ? word.GetString() : null;
        if (outcome is not ("done" or "notDone"))
            throw Problem.BadBody("$.outcome", "The body has no outcome, or not one of \"done\" and \"notDone\". Say whether the step's phase took effect.").Thrown();
        var result = body.TryGetProperty("result", out var given) ? new Payload(JsonSerializer.SerializeToUtf8Bytes(given)) : null;
        if (outcome == "notDone" && result is { IsNull: false })
            throw Problem.BadBody("$.result", "A step that is not done has no result. Leave result out, or say \"done\".").Thrown();
        return new SagaEvent.StepResolved(step, outcome == "done", outcome == "done" ? result : null, ReasonOf(body), by);
    }

    public static string ReasonOf(JsonElement body)
    {
        var reason = body.TryGetProperty("reason", out var text) && text.ValueKind == JsonValueKind.String ? text.GetString()!.Trim() : "";
        if (reason.Length == 0) throw Missing("The body has no reason.");
        if (reason.Length > MaxReason) throw Missing($"The reason has {reason.Length} characters.");
        return reason;

        static ProblemException Missing(string fault) =>
            (Problem.BadBody("$.reason", $"{fault} Send {{\"reason\":\"…\"}} with 1 to {MaxReason} characters; it is kept in the history.") with { Name = "reason-required", Title = "Reason required" }).Thrown();
    }

    private static async Task RequestAsync(HttpContext http, SagaId id, SagaEvent request, Asked asked)
    {
        var engine = http.Engine();
        var result = await engine.RequestAsync(id, request, http.RequestAborted);
        switch (result.Outcome)
        {
            case RequestOutcome.NotFound: throw Problem.UnknownSaga(id).Thrown();
            case RequestOutcome.WrongState: throw Problem.WrongState(result.Problem, result.Saga).Thrown();
            case RequestOutcome.Busy: throw Problem.Busy(result.Problem).Thrown();
        }
        var saga = result.Saga!;
        await Audit.KeepAsync(http, asked.Word, "saga", id.Value, asked.Detail, asked.Reason, asked.By);
        await Answer.JsonAsync(http, 202, json => SagaWriter.Write(json, saga, engine.DefinitionOf(saga)));
    }

    private readonly record struct Asked(string Word, string? Detail, string Reason, string By);
}
