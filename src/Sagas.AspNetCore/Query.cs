using System.Collections.Immutable;
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>Reads parameters and headers. What does not fit ends the request with a problem that names the parameter, its value and what is expected.</summary>
internal static partial class Query
{
    public const int DefaultLimit = 50;
    public const int MaxLimit = 500;
    public const int MaxTags = 32;
    public static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(60);

    private const string Ids = "1 to 128 of A-Z a-z 0-9 . _ : -, the first a letter or digit";
    private const string Times = "an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z (write a + as %2B)";

    /// <summary>The id of a saga to be started: parameter <c>id</c> or header <c>Idempotency-Key</c>; null: neither.</summary>
    public static SagaId? NewId(HttpRequest request)
    {
        var id = One(request, "id");
        var key = request.Headers["Idempotency-Key"] is { Count: > 0 } keys ? keys.Count == 1 ? Unquoted(keys.ToString()) : null : "";
        if (key is null) throw Problem.BadHeader("Idempotency-Key", request.Headers["Idempotency-Key"].ToString(), "it once").Thrown();
        if (request.Headers.ContainsKey("Idempotency-Key") && !SagaId.TryParse(key, out _))
            throw Problem.BadHeader("Idempotency-Key", key, $"{Ids}: it becomes the saga's id. Send another key as a hash of it in hex").Thrown();
        if (id is null) return key.Length > 0 ? new SagaId(key) : null;
        if (!SagaId.TryParse(id, out var parsed)) throw Problem.BadParameter("id", id, Ids).Thrown();
        if (key.Length > 0 && key != id)
            throw Problem.BadParameter("id", id, $"the same as header Idempotency-Key, which is '{Problem.Short(key)}', or only one of the two").Thrown();
        return parsed;
    }

    /// <summary>The id of a saga in the path. A child's may be longer than a client's.</summary>
    public static SagaId IdOf(HttpContext http)
    {
        var text = Route(http, "id");
        var child = text.Length is > 128 and <= 4096 && SagaId.TryParse(text[..128], out _);
        if (!child && !SagaId.TryParse(text, out _)) throw Problem.BadParameter("id", text, Ids).Thrown();
        return new SagaId(text);
    }

    public static string Route(HttpContext http, string name) => (string?)http.Request.RouteValues[name] ?? "";

    public static int? Version(HttpRequest request) => Number(request, "version", 1, int.MaxValue, "a whole number from 1");

    /// <summary>A callback's attempt: given, from 1.</summary>
    public static int Attempt(HttpRequest request) =>
        Number(request, "attempt", 1, int.MaxValue, "the attempt's number, as in Saga-Callback") ?? throw Problem.BadParameter("attempt", "", "the attempt's number, as in Saga-Callback").Thrown();

    /// <summary>A callback's phase.</summary>
    public static Phase Phase(HttpRequest request)
    {
        var word = One(request, "phase") ?? "";
        foreach (var phase in Enum.GetValues<Phase>())
            if (phase.Word() == word) return phase;
        throw Problem.BadParameter("phase", word, "one of try, confirm, cancel, do, compensate, check, as in Saga-Callback").Thrown();
    }

    public static int Priority(HttpRequest request) => Number(request, "priority", 0, 9, "a whole number from 0 to 9; 9 goes first, 5 is usual") ?? 5;

    public static int Limit(HttpRequest request) => Number(request, "limit", 1, MaxLimit, $"a whole number from 1 to {MaxLimit}") ?? DefaultLimit;

    /// <summary>How far back a series goes.</summary>
    public static int Minutes(HttpRequest request) => Number(request, "minutes", 1, 1440, "a whole number from 1 to 1440") ?? 15;

    /// <summary>For what a step waits; null: anything.</summary>
    public static WaitKind? WaitKind(HttpRequest request)
    {
        if (One(request, "kind") is not { Length: > 0 } word) return null;
        return Array.IndexOf(Words.WaitKinds, word) is >= 0 and var index ? (WaitKind)index
            : throw Problem.BadParameter("kind", word, "one of " + string.Join(", ", Words.WaitKinds)).Thrown();
    }

    /// <summary>A history page's cursor: the last entry seen.</summary>
    public static int After(HttpRequest request) => Number(request, "cursor", 0, int.MaxValue, "the 'next' of the page before, unchanged") ?? 0;

    /// <summary>How long the answer may wait for the saga's end; null: not at all.</summary>
    public static TimeSpan? Wait(HttpRequest request)
    {
        if (One(request, "wait") is not { } text) return null;
        if (!decimal.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds) || seconds > (decimal)MaxWait.TotalSeconds)
            throw Problem.BadParameter("wait", text, "seconds from 0 to 60, such as 10 or 0.5").Thrown();
        return TimeSpan.FromSeconds((double)seconds);
    }

    public static ImmutableSortedDictionary<string, string> Tags(HttpRequest request)
    {
        var given = request.Query["tag"];
        if (given.Count == 0) return ImmutableSortedDictionary<string, string>.Empty;
        var tags = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var (key, value) in given.Select(Tag))
        {
            if (tags.TryGetValue(key, out var other) && other != value)
                throw Problem.BadParameter("tag", $"{key}:{value}", $"each key once; '{Problem.Short(key)}' is also '{Problem.Short(other)}'").Thrown();
            tags[key] = value;
        }
        if (tags.Count > MaxTags) throw Problem.BadParameter("tag", $"{tags.Count} tags", $"at most {MaxTags}").Thrown();
        return tags.ToImmutable();
    }

    /// <summary>Whether a tag's key and value can be kept.</summary>
    public static bool IsTag(string key, string value) =>
        key.Length is >= 1 and <= 64 && value.Length <= 256 && !key.Contains(':') && !key.Any(char.IsControl) && !value.Any(char.IsControl);

    public static SagaFilter Filter(HttpRequest request) => Filter(request.Query);

    public static SagaFilter Filter(IQueryCollection query)
    {
        var after = Time(query, "startedAfter");
        var before = Time(query, "startedBefore");
        var tags = query["tag"];
        string? Text(string name) => One(query, name) is { Length: > 0 } text ? text : null;
        return new SagaFilter(Statuses(query), Text("definition"), tags.Count == 0 ? null : [.. tags.Select(Tag)], Text("step"), Text("q"), after, before) { Error = Text("error") };
    }

    /// <summary>A parameter that may be given once; null: not given.</summary>
    public static string? One(HttpRequest request, string name) => One(request.Query, name);

    private static string? One(IQueryCollection query, string name)
    {
        var values = query[name];
        if (values.Count > 1) throw Problem.BadParameter(name, values.ToString(), "it once").Thrown();
        return values.Count == 1 ? values[0] ?? "" : null;
    }

    /// <summary>Who asks, for the saga's history.</summary>
    public static string Operator(HttpRequest request)
    {
        var values = request.Headers["X-Operator"];
        if (values.Count == 0) return "anonymous";
        var name = values.ToString().Trim();
        if (name.Length is 0 or > 128 || name.Any(char.IsControl)) throw Problem.BadHeader("X-Operator", name, "1 to 128 printable characters, or leave it out").Thrown();
        return name;
    }

    /// <summary>The caller's trace context, when it is one; what is not is ignored, as W3C asks.</summary>
    public static string? TraceParent(HttpRequest request) =>
        request.Headers.TraceParent is { Count: 1 } values && values[0] is { Length: 55 } text && ActivityContext.TryParse(text, null, out _) ? text : null;

    public static bool TryTime(string text, [NotNullWhen(true)] out DateTimeOffset? time)
    {
        time = null;
        if (text.Length > 6 && text[^6] == ' ') text = text[..^6] + "+" + text[^5..]; // a + that the client did not escape
        if (!TimePattern().IsMatch(text)) return false;
        if (!DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.None, out var parsed)) return false;
        time = parsed;
        return true;
    }

    private static DateTimeOffset? Time(IQueryCollection query, string name) =>
        One(query, name) is not { } text ? null : TryTime(text, out var time) ? time : throw Problem.BadParameter(name, text, Times).Thrown();

    private static ImmutableArray<SagaStatus>? Statuses(IQueryCollection query)
    {
        var given = query["status"];
        if (given.Count == 0) return null;
        var statuses = given.SelectMany(value => (value ?? "").Split(',')).Select(word =>
            Words.StatusOf(word) ?? throw Problem.BadParameter("status", word, "one or more of " + string.Join(", ", Words.Statuses)).Thrown());
        return [.. statuses.Distinct()];
    }

    private static KeyValuePair<string, string> Tag(string? text)
    {
        var colon = (text ?? "").IndexOf(':');
        if (colon > 0 && IsTag(text![..colon], text[(colon + 1)..])) return new(text[..colon], text[(colon + 1)..]);
        throw Problem.BadParameter("tag", text ?? "", "key:value with 1 to 64 characters before the colon and at most 256 after it").Thrown();
    }

    private static int? Number(HttpRequest request, string name, int least, int most, string expected)
    {
        if (One(request, name) is not { } text) return null;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most) return number;
        throw Problem.BadParameter(name, text, expected).Thrown();
    }

    // The header's draft standard writes the key as a quoted string; most clients send it bare.
    private static string Unquoted(string key) => key.Length >= 2 && key[0] == '"' && key[^1] == '"' ? key[1..^1] : key;

    [GeneratedRegex(@"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\z")]
    private static partial Regex TimePattern();
}
