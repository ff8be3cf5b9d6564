using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace Sagas.AspNetCore;

/// <summary>The explorer's verdict on a definition.</summary>
internal static class Verify
{
    private const string Example = "{\"crashes\":1,\"duplicates\":1,\"drops\":1,\"cancel\":true}";

    public static async Task Run(HttpContext http)
    {
        var definition = Definitions.Named(http);
        ExplorerBounds bounds;
        using (var body = await Body.ObjectAsync(http, Example)) bounds = BoundsOf(body.RootElement);
        var begun = Stopwatch.GetTimestamp();
        var found = await http.Engine().VerifyAsync(definition, bounds, http.RequestAborted)
            ?? throw Busy(http.Engine().VerificationLeft).Thrown();
        var seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        await Answer.JsonAsync(http, 200, json => Write(json, found, bounds, seconds));
    }

    private static Problem Busy(TimeSpan left)
    {
        var seconds = Math.Max(1, (int)Math.Ceiling(left.TotalSeconds));
        return Problem.Busy(string.Create(CultureInfo.InvariantCulture, $"This node explores another definition, for {seconds} s more at most (Sagas:Verify:TimeLimit). Repeat when that has ended.")) with { RetryAfter = seconds };
    }

    private static ExplorerBounds BoundsOf(JsonElement body)
    {
        var bounds = new ExplorerBounds();
        foreach (var field in body.EnumerateObject())
            bounds = field.Name switch
            {
                "attempts" => bounds with { Attempts = Number(field, 1, 5) },
                "crashes" => bounds with { Crashes = Number(field, 0, 7) },
                "duplicates" => bounds with { Duplicates = Number(field, 0, 7) },
                "drops" => bounds with { Drops = Number(field, 0, 7) },
                "takeovers" => bounds with { Takeovers = Number(field, 0, 7) },
                "pauses" => bounds with { Pauses = Number(field, 0, 7) },
                "cancel" => bounds with { Cancel = Flag(field) },
                "errors" => bounds with { Errors = Flag(field) },
                "busy" => bounds with { Busy = Flag(field) },
                "maxStates" => bounds with { MaxStates = Number(field, 1, int.MaxValue) },
                _ => throw Problem.BadBody($"$.{field.Name}", $"The body has a field '{Problem.Short(field.Name)}'. It has only attempts, crashes, duplicates, drops, takeovers, pauses, cancel, errors, busy and maxStates.").Thrown(),
            };
        return bounds;
    }

    private static int Number(JsonProperty field, int least, int most) => field.Value.ValueKind == JsonValueKind.Number && field.Value.TryGetInt32(out var number) && number >= least && number <= most ? number
        : throw Problem.BadBody($"$.{field.Name}", string.Create(CultureInfo.InvariantCulture, $"'{field.Name}' is {Problem.Short(field.Value.GetRawText())}. Give a whole number from {least} to {most}.")).Thrown();

    private static bool Flag(JsonProperty field) => field.Value.ValueKind is JsonValueKind.True or JsonValueKind.False ? field.Value.GetBoolean()
        : throw Problem.BadBody($"$.{field.Name}", $"'{field.Name}' is {Problem.Short(field.Value.GetRawText())}. Give true or false.").Thrown();

    /// <summary>The verdict as the answer's JSON.</summary>
    internal static void Write(Utf8JsonWriter json, Verification found, ExplorerBounds bounds, double seconds)
    {
        json.WriteStartObject();
        json.WriteString("verdict"u8, Word(found.Verdict));
        json.WriteNumber("states"u8, found.States);
        json.WriteNumber("transitions"u8, found.Transitions);
        json.WriteNumber("seconds"u8, Math.Round(seconds, 3));
        json.WriteString("bounds"u8, bounds.ToString());
        json.WriteString("promise"u8, found.Violation);
        json.WriteStartArray("runs"u8);
        foreach (var run in found.Runs)
        {
            json.WriteStartObject();
            json.WriteString("verdict"u8, Word(run.Verdict));
            json.WriteString("bounds"u8, run.Bounds.ToString());
            json.WriteNumber("states"u8, run.States);
            json.WriteNumber("transitions"u8, run.Transitions);
            json.WriteNumber("depth"u8, run.Depth);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteStartArray("notRun"u8);
        foreach (var left in found.NotRun) json.WriteStringValue(left.ToString());
        json.WriteEndArray();
        json.WriteStartArray("counterexample"u8);
        foreach (var line in found.Counterexample)
        {
            json.WriteStartObject();
            json.WriteString("text"u8, line.Text);
            json.WriteString("from"u8, line.From);
            json.WriteString("to"u8, line.To);
            json.WriteString("step"u8, line.Step);
            json.WriteString("phase"u8, line.Phase?.Word());
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static string Word(ExplorerVerdict verdict) => verdict.ToString().ToLowerInvariant();
}
