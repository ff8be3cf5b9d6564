using System.Collections.Immutable;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Text.Unicode;
using System.Xml;

namespace Sagas;

/// <summary>From a definition's JSON to the frozen graph: finds all its faults, then freezes.</summary>
internal sealed partial class DefinitionReader
{
    private const int MaxSteps = 1000;
    private static readonly string[] OfSaga = ["name", "version", "timeout", "headers", "steps", "result"];
    private static readonly string[] OfStep = ["name", "tcc", "step", "after", "input", "pivot", "readOnly", "timeout", "retry", "headers", "refuseOn", "callbackWithin"];
    private static readonly string[] Later = ["when", "wait", "delay", "child", "forEach", "locks", "orderBy", "priority", "limit", "check"];

    private readonly List<DefinitionFault> _faults = [];

    /// <summary>A step as it is written, at its place in the text.</summary>
    private sealed record Written(string Path, JsonElement Json, string Name, StepKind Kind, Endpoint? Forward, Endpoint? Confirm, Endpoint? Undo)
    {
        public List<int> After { get; } = [];
        public bool Pivot { get; init; }
        public bool ReadOnly { get; init; }
        public bool Undoable => Kind == StepKind.Tcc || Undo is not null;
    }

    public static SagaDefinition Read(ReadOnlyMemory<byte> utf8)
    {
        if (!Utf8.IsValid(utf8.Span)) throw new DefinitionJsonException([new("$", "The text is not UTF-8. Save it as UTF-8.")]);
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(utf8, new JsonDocumentOptions { MaxDepth = Payload.MaxDepth });
        }
        catch (JsonException e)
        {
            throw new DefinitionJsonException([new("$", $"The text is not JSON, at line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}: {e.Message}")]);
        }
        using (document) return new DefinitionReader().Saga(document.RootElement, new Payload(utf8.ToArray()));
    }

    /// <summary>The JSON path of a member.</summary>
    public static string Member(string path, string name) => PlainName().IsMatch(name) ? $"{path}.{name}" : $"{path}['{name}']";

    private SagaDefinition Saga(JsonElement root, Payload given)
    {
        // First what would make the rest of the reading stumble: names given twice, texts that are no texts.
        Walk(root, "$");
        Enough();
        if (root.ValueKind != JsonValueKind.Object)
        {
            Fault("$", $"A definition is an object, not {Kind(root)}. Write {{\"name\": …, \"version\": 1, \"steps\": […]}}.");
            Enough();
        }
        Known(root, "$", OfSaga);
        var name = Name(root, "$", "saga");
        var version = Whole(root, "$", "version", 1, int.MaxValue) ?? 1;
        if (!root.TryGetProperty("version", out _)) Fault("$.version", "The version is missing. Versions start at 1.");
        var timeout = Time(root, "$", "timeout");
        var headers = Headers(root, "$", []);
        var steps = Steps(root);
        var order = Order(steps);
        Pivots(steps);
        var built = new StepDefinition[steps.Count];
        var at = new int[steps.Count];
        for (var i = 0; i < order.Length; i++) at[order[i]] = i;
        for (var i = 0; i < steps.Count; i++) built[at[i]] = Build(steps, i, at, headers);
        Func<SagaData, Payload>? result = null;
        if (root.TryGetProperty("result", out var template))
        {
            var mapping = Mapping.Compile(template, "$.result", (step, path) => Readable(steps, null, step, path, at), Fault);
            result = mapping.Make;
        }
        Enough();
        return new SagaDefinition(name, version, [.. built], timeout, result, json: given);
    }

    // ── Steps ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    private List<Written> Steps(JsonElement root)
    {
        var steps = new List<Written>();
        if (!root.TryGetProperty("steps", out var list) || list.ValueKind != JsonValueKind.Array || list.GetArrayLength() is 0 or > MaxSteps)
        {
            Fault("$.steps", list.ValueKind switch
            {
                JsonValueKind.Undefined => "The steps are missing. Give an array of at least one step.",
                JsonValueKind.Array when list.GetArrayLength() == 0 => "There are no steps. Give at least one.",
                JsonValueKind.Array => $"There are {list.GetArrayLength()} steps; at most {MaxSteps} are taken. Split the saga.",
                _ => $"The steps are {Kind(list)}. Give an array of steps.",
            });
            return steps;
        }
        var i = 0;
        foreach (var json in list.EnumerateArray())
        {
            var path = $"$.steps[{i++}]";
            if (json.ValueKind == JsonValueKind.Object) steps.Add(Step(json, path, steps));
            else Fault(path, $"A step is an object, not {Kind(json)}.");
        }
        foreach (var step in steps) After(step, steps);
        return steps;
    }

    private Written Step(JsonElement json, string path, List<Written> before)
    {
        Known(json, path, OfStep);
        var name = Name(json, path, "step");
        if (name.Length > 0 && before.Find(s => s.Name == name) is { } same)
            Fault(path + ".name", $"'{name}' is the name of {same.Path} too. Name the steps apart.");
        var isTcc = json.TryGetProperty("tcc", out var tcc);
        var isPlain = json.TryGetProperty("step", out var plain);
        if (isTcc && isPlain) Fault(path, "It has both 'tcc' and 'step'. A step is one of them: take the other away.");
        if (!isTcc && !isPlain)
        {
            if (!Later.Any(word => json.TryGetProperty(word, out _))) Fault(path, "It has neither 'tcc' nor 'step'. Say what it calls.");
        }
        Endpoint? forward = null, confirm = null, undo = null;
        if (isTcc && IsObject(tcc, path + ".tcc"))
        {
            Known(tcc, path + ".tcc", ["try", "confirm", "cancel"]);
            forward = Address(tcc, path + ".tcc", "try", required: true);
            confirm = Address(tcc, path + ".tcc", "confirm");
            undo = Address(tcc, path + ".tcc", "cancel");
        }
        if (isPlain && IsObject(plain, path + ".step"))
        {
            Known(plain, path + ".step", ["do", "compensate"]);
            forward = Address(plain, path + ".step", "do", required: true);
            undo = Address(plain, path + ".step", "compensate") ?? (isTcc ? undo : null);
        }
        var pivot = Flag(json, path, "pivot");
        var readOnly = Flag(json, path, "readOnly");
        if (pivot && readOnly) Fault(path, "It is both 'pivot' and 'readOnly'. A pivot changes something: say one of them.");
        if (isTcc && !isPlain && pivot) Fault(path + ".pivot", "A reservation is no point of no return. Make the pivot a 'step', or take 'pivot' away.");
        if (isTcc && !isPlain && readOnly) Fault(path + ".readOnly", "A reservation changes something. Make it a 'step', or take 'readOnly' away.");
        if (isPlain && !isTcc && undo is not null)
        {
            if (pivot) Fault(path + ".step.compensate", "A pivot is never undone. Take 'compensate' or 'pivot' away.");
            if (readOnly) Fault(path + ".step.compensate", "A read-only step has nothing to undo. Take 'compensate' or 'readOnly' away.");
        }
        return new Written(path, json, name, isTcc ? StepKind.Tcc : StepKind.Do, forward, confirm, undo) { Pivot = pivot, ReadOnly = readOnly };
    }

    private void After(Written step, List<Written> steps)
    {
        if (!step.Json.TryGetProperty("after", out var list)) return;
        if (list.ValueKind != JsonValueKind.Array)
        {
            Fault(step.Path + ".after", $"'after' is {Kind(list)}. Give an array of step names.");
            return;
        }
        var i = 0;
        foreach (var item in list.EnumerateArray())
        {
            var path = $"{step.Path}.after[{i++}]";
            if (item.ValueKind != JsonValueKind.String)
            {
                Fault(path, $"It is {Kind(item)}. Give a step's name.");
                continue;
            }
            var index = steps.FindIndex(s => s.Name == item.GetString());
            if (index < 0) Fault(path, $"Step '{step.Name}' comes after '{item.GetString()}', which is not defined. Add the step or take the name away.");
            else if (step.After.Contains(index)) Fault(path, $"'{item.GetString()}' is named twice. Name it once.");
            else step.After.Add(index);
        }
    }

    /// <summary>The written places in an order in which each step stands after all it depends on; otherwise as written.</summary>
    private int[] Order(List<Written> steps)
    {
        var order = new List<int>();
        var placed = new bool[steps.Count];
        while (order.Count < steps.Count)
        {
            var next = Enumerable.Range(0, steps.Count).FirstOrDefault(i => !placed[i] && steps[i].After.TrueForAll(b => placed[b]), -1);
            if (next < 0)
            {
                Cycle(steps, placed);
                return [.. Enumerable.Range(0, steps.Count)];
            }
            placed[next] = true;
            order.Add(next);
        }
        return [.. order];
    }

    private void Cycle(List<Written> steps, bool[] placed)
    {
        var way = new List<int>();
        var here = Array.IndexOf(placed, false);
        while (!way.Contains(here))
        {
            way.Add(here);
            here = steps[here].After.Find(b => !placed[b]);
        }
        var ring = way.Skip(way.IndexOf(here)).Append(here).Select(i => $"'{steps[i].Name}'");
        Fault(steps[here].Path + ".after", $"The steps wait for each other: {string.Join(" after ", ring)}. Take one of these out of an 'after'.");
    }

    private void Pivots(List<Written> steps)
    {
        var pivots = steps.Where(s => s.Pivot).ToArray();
        foreach (var more in pivots.Skip(1))
            Fault(more.Path + ".pivot", $"'{pivots[0].Name}' is the pivot already. A saga has one point of no return at most: keep one.");
        if (pivots.Length != 1) return;
        var before = Before(steps, steps.IndexOf(pivots[0]));
        for (var i = 0; i < steps.Count; i++)
            if (steps[i].Undoable && !steps[i].Pivot && !before[i])
                Fault(steps[i].Path, $"Step '{steps[i].Name}' can be undone but does not come before the pivot '{pivots[0].Name}', after which nothing is undone. Put it before the pivot, or take its compensation away.");
    }

    /// <summary>All that a step comes after, directly or not.</summary>
    private static bool[] Before(List<Written> steps, int step)
    {
        var before = new bool[steps.Count];
        var open = new Stack<int>(steps[step].After);
        while (open.TryPop(out var i))
        {
            if (before[i]) continue;
            before[i] = true;
            foreach (var more in steps[i].After) open.Push(more);
        }
        return before;
    }

    private StepDefinition Build(List<Written> steps, int place, int[] at, ImmutableArray<KeyValuePair<string, string>> headers)
    {
        var step = steps[place];
        Func<SagaData, Payload> map = data => data.Input;
        if (step.Json.TryGetProperty("input", out var template))
        {
            var before = Before(steps, place);
            var mapping = Mapping.Compile(template, step.Path + ".input", (name, path) => Readable(steps, before, name, path, at), Fault);
            map = mapping.Make;
        }
        return new StepDefinition
        {
            Index = at[place], Name = step.Name, Kind = step.Kind, After = [.. step.After.Select(i => at[i])],
            Forward = step.Forward ?? new BusEndpoint("", ""), Confirm = step.Confirm, Undo = step.Undo, Map = map,
            Pivot = step.Pivot, ReadOnly = step.ReadOnly, Retry = Retries(step.Json, step.Path),
            Timeout = Time(step.Json, step.Path, "timeout") ?? StepDefinition.DefaultTimeout,
            CallbackWithin = Time(step.Json, step.Path, "callbackWithin") ?? StepDefinition.DefaultCallbackWithin,
            Headers = Headers(step.Json, step.Path, headers), RefuseOn = Statuses(step.Json, step.Path),
        };
    }

    /// <summary>The index of a step that a mapping reads; null <paramref name="before"/>: the saga's result, which comes after every step.</summary>
    private int Readable(List<Written> steps, bool[]? before, string name, string path, int[] at)
    {
        var index = steps.FindIndex(s => s.Name == name);
        if (index < 0) Fault(path, $"It reads step '{name}', which is not defined. Add the step or read another.");
        else if (before is not null && !before[index]) Fault(path, $"It reads step '{name}', which does not come before. Put \"{name}\" into 'after', or read another step.");
        return index < 0 ? -1 : at[index];
    }

    // ── Values ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    private Retry Retries(JsonElement step, string path)
    {
        path += ".retry";
        if (!step.TryGetProperty("retry", out var json) || !IsObject(json, path)) return Retry.Default;
        Known(json, path, ["attempts", "first", "max", "factor"]);
        var attempts = Whole(json, path, "attempts", 1, 1_000_000) ?? Retry.Default.Attempts;
        var first = Time(json, path, "first") ?? Retry.Default.First;
        var max = Time(json, path, "max") ?? (first > Retry.Default.Max ? first : Retry.Default.Max);
        if (max < first) Fault(path + ".max", "The longest delay is shorter than the first. Make 'max' at least 'first'.");
        var factor = Retry.Default.Factor;
        if (json.TryGetProperty("factor", out var number)
            && (number.ValueKind != JsonValueKind.Number || !number.TryGetDouble(out factor) || !(factor >= 1 && factor <= 1000)))
        {
            Fault(path + ".factor", $"The factor is {number.GetRawText()}. Give a number from 1 to 1000.");
            factor = Retry.Default.Factor;
        }
        return new Retry(attempts, first, max, factor);
    }

    private ImmutableArray<int> Statuses(JsonElement step, string path)
    {
        path += ".refuseOn";
        if (!step.TryGetProperty("refuseOn", out var list)) return [];
        if (list.ValueKind != JsonValueKind.Array)
        {
            Fault(path, $"'refuseOn' is {Kind(list)}. Give an array of HTTP statuses.");
            return [];
        }
        var statuses = new SortedSet<int>();
        var i = 0;
        foreach (var item in list.EnumerateArray())
        {
            if (item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out var status) && status is >= 300 and <= 599) statuses.Add(status);
            else Fault($"{path}[{i}]", $"{item.GetRawText()} is no HTTP status that can mean refused. Give whole numbers from 300 to 599.");
            i++;
        }
        return [.. statuses];
    }

    private ImmutableArray<KeyValuePair<string, string>> Headers(JsonElement json, string path, ImmutableArray<KeyValuePair<string, string>> inherited)
    {
        path += ".headers";
        if (!json.TryGetProperty("headers", out var headers) || !IsObject(headers, path)) return inherited;
        var own = new SortedDictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var header in headers.EnumerateObject())
        {
            var at = Member(path, header.Name);
            if (!HeaderName().IsMatch(header.Name)) Fault(at, $"'{header.Name}' cannot name a header. Use letters, digits and -.");
            else if (Reserved().IsMatch(header.Name)) Fault(at, $"The engine sets '{header.Name}' itself. Take another name.");
            else if (header.Value.ValueKind != JsonValueKind.String) Fault(at, $"The header is {Kind(header.Value)}. Give a string.");
            else if (header.Value.GetString()!.Any(c => c is < ' ' or > '~')) Fault(at, "The header's value holds a character that HTTP does not carry. Use printable ASCII.");
            else if (!own.TryAdd(header.Name, header.Value.GetString()!)) Fault(at, $"The header '{header.Name}' is there twice; case does not matter. Keep one.");
        }
        foreach (var (name, value) in inherited) own.TryAdd(name, value);
        return [.. own];
    }

    private Endpoint? Address(JsonElement json, string path, string field, bool required = false)
    {
        var at = $"{path}.{field}";
        if (!json.TryGetProperty(field, out var value))
        {
            if (required) Fault(at, $"'{field}' is missing. Give a URL or \"bus:participant/command\".");
            return null;
        }
        var text = value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
        if (BusAddress().Match(text) is { Success: true } bus) return new BusEndpoint(bus.Groups[1].Value, bus.Groups[2].Value);
        if (Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme is "http" or "https" && url.Host.Length > 0) return new HttpEndpoint(url);
        Fault(at, $"{(value.ValueKind == JsonValueKind.String ? $"'{text}'" : "It")} is no address. Give an absolute http or https URL, or \"bus:participant/command\".");
        return null;
    }

    private string Name(JsonElement json, string path, string what)
    {
        if (!json.TryGetProperty("name", out var name)) Fault(path + ".name", $"The {what}'s name is missing. Use 1 to 64 of A-Z a-z 0-9 _ -.");
        else if (name.ValueKind != JsonValueKind.String || !NamePattern().IsMatch(name.GetString()!))
            Fault(path + ".name", $"{name.GetRawText()} cannot name a {what}. Use 1 to 64 of A-Z a-z 0-9 _ -.");
        else return name.GetString()!;
        return "";
    }

    private int? Whole(JsonElement json, string path, string field, int least, int most)
    {
        if (!json.TryGetProperty(field, out var value)) return null;
        if (value.ValueKind == JsonValueKind.Number && value.TryGetDecimal(out var number) && number == decimal.Truncate(number) && number >= least && number <= most) return (int)number;
        Fault($"{path}.{field}", $"'{field}' is {value.GetRawText()}. Give a whole number from {least} to {most}.");
        return null;
    }

    private bool Flag(JsonElement json, string path, string field)
    {
        if (!json.TryGetProperty(field, out var value)) return false;
        if (value.ValueKind is not (JsonValueKind.True or JsonValueKind.False)) Fault($"{path}.{field}", $"'{field}' is {Kind(value)}. Give true or false.");
        return value.ValueKind == JsonValueKind.True;
    }

    private TimeSpan? Time(JsonElement json, string path, string field)
    {
        if (!json.TryGetProperty(field, out var value)) return null;
        var text = value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
        try
        {
            if (Duration().IsMatch(text))
            {
                var time = XmlConvert.ToTimeSpan(text);
                if (time > TimeSpan.Zero && time <= DefinitionDrawing.Longest) return time;
                Fault($"{path}.{field}", $"'{text}' is no time to wait. Give one longer than zero and of at most {DefinitionDrawing.Longest.Days} days.");
                return null;
            }
        }
        catch (Exception e) when (e is FormatException or OverflowException) { }
        Fault($"{path}.{field}", $"{value.GetRawText()} is no ISO 8601 duration of days, hours, minutes and seconds. Write it as \"PT0.2S\", \"PT5M\" or \"P1DT12H\".");
        return null;
    }

    private void Known(JsonElement json, string path, string[] known)
    {
        foreach (var member in json.EnumerateObject())
        {
            if (known.Contains(member.Name)) continue;
            Fault(Member(path, member.Name), Later.Contains(member.Name)
                ? $"'{member.Name}' is not supported yet. Take it away, or write the saga in C#."
                : $"'{member.Name}' is not a field here. Use {string.Join(", ", known)}.");
        }
    }

    private bool IsObject(JsonElement json, string path)
    {
        if (json.ValueKind == JsonValueKind.Object) return true;
        Fault(path, $"It is {Kind(json)}. Give an object.");
        return false;
    }

    private void Walk(JsonElement json, string path)
    {
        switch (json.ValueKind)
        {
            case JsonValueKind.Object:
                var names = new HashSet<string>(StringComparer.Ordinal);
                foreach (var member in json.EnumerateObject())
                {
                    string name;
                    try
                    {
                        name = member.Name;
                    }
                    catch (InvalidOperationException)
                    {
                        Fault(path, "A member's name holds half of a surrogate pair. Write whole characters.");
                        continue;
                    }
                    if (!names.Add(name)) Fault(Member(path, name), $"'{name}' is there twice. Keep one.");
                    Walk(member.Value, Member(path, name));
                }
                break;
            case JsonValueKind.Array:
                var i = 0;
                foreach (var item in json.EnumerateArray()) Walk(item, $"{path}[{i++}]");
                break;
            case JsonValueKind.String:
                try
                {
                    json.GetString();
                }
                catch (InvalidOperationException)
                {
                    Fault(path, "The text holds half of a surrogate pair. Write whole characters.");
                }
                break;
        }
    }

    private void Fault(string path, string message) => _faults.Add(new(path, message));

    private void Enough()
    {
        if (_faults.Count > 0) throw new DefinitionJsonException([.. _faults]);
    }

    private static string Kind(JsonElement json) => json.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.Null => "null",
        _ => "true or false",
    };

    [GeneratedRegex(@"^[A-Za-z0-9_-]{1,64}\z")]
    private static partial Regex NamePattern();

    [GeneratedRegex(@"^[A-Za-z_][A-Za-z0-9_-]*\z")]
    private static partial Regex PlainName();

    [GeneratedRegex(@"^bus:([A-Za-z0-9._-]{1,64})/([A-Za-z0-9._:-]{1,128})\z")]
    private static partial Regex BusAddress();

    [GeneratedRegex(@"^P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?\z")]
    private static partial Regex Duration();

    [GeneratedRegex(@"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\z")]
    private static partial Regex HeaderName();

    [GeneratedRegex(@"^(saga-.*|content-.*|idempotency-key|traceparent|host|connection|transfer-encoding)\z", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Reserved();
}
