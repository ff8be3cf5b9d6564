using System.Buffers;
using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Heart;

/// <summary>The bytes: envelopes on the bus, states in the store, payloads in both.</summary>
public class WireTests
{
    private static readonly DateTimeOffset Noon = Story.Noon;

    private static string Json<T>(T batch) => JsonSerializer.Serialize(batch, SagaJson.Options);

    private static CommandItem Command(string json) => Commands($$"""{"items":[{{json}}]}""").Items.ShouldHaveSingleItem();

    private static CommandBatch Commands(string json) => JsonSerializer.Deserialize<CommandBatch>(json, SagaJson.Options)!;

    private static ReplyItem Reply(string json) => Replies($$"""{"items":[{{json}}]}""").Items.ShouldHaveSingleItem();

    private static ReplyBatch Replies(string json) => JsonSerializer.Deserialize<ReplyBatch>(json, SagaJson.Options)!;

    // ── Envelopes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    private const string WholeCommand = """{"saga":"s1","step":"seat","phase":"try","attempt":2,"command":"reserve-seat","key":"s1/seat/try","payload":{"a": [1, 2.50]},"deadline":"2026-11-21T12:00:00Z","replyTo":"sagas.replies.n1","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}""";
    private const string WholeReply = """{"saga":"s1","step":"seat","phase":"try","attempt":2,"outcome":"busy","payload":{"a": [1, 2.50]},"code":"full","message":"Later.","retryAfter":1.5,"inDoubt":true}""";

    [Fact]
    public void A_command_on_the_wire_has_the_fields_of_the_design()
    {
        var item = new CommandItem("s1", "seat", Phase.Try, 2, "reserve-seat", "s1/seat/try", Payload.Parse("""{"a": [1, 2.50]}"""), Noon, "sagas.replies.n1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        Json(new CommandBatch([item])).ShouldBe($$"""{"items":[{{WholeCommand}}]}""");
        Command(WholeCommand).ShouldBe(item);
    }

    [Fact]
    public void A_reply_on_the_wire_has_the_fields_of_the_design()
    {
        var item = new ReplyItem("s1", "seat", Phase.Try, 2, Outcome.Busy, Payload.Parse("""{"a": [1, 2.50]}"""), "full", "Later.", TimeSpan.FromSeconds(1.5), true);
        Json(new ReplyBatch([item])).ShouldBe($$"""{"items":[{{WholeReply}}]}""");
        Reply(WholeReply).ShouldBe(item);
    }

    [Fact]
    public void Fields_that_a_command_can_do_without_are_left_out_and_defaulted()
    {
        Json(new CommandBatch([new CommandItem("s1", "seat", Phase.Do, 1, "c", "k", Payload.Null, null, "q", null)]))
            .ShouldBe("""{"items":[{"saga":"s1","step":"seat","phase":"do","attempt":1,"command":"c","key":"k","payload":null,"replyTo":"q"}]}""");
        var least = new CommandItem("s1", "seat", Phase.Confirm, 1, "c", "s1/seat/confirm", Payload.Null, null, "q", null);
        Command("""{"saga":"s1","step":"seat","phase":"confirm","command":"c","replyTo":"q"}""").ShouldBe(least);
        Command("""{"saga":"s1","step":"seat","phase":"confirm","command":"c","replyTo":"q","key":null,"payload":null,"deadline":null,"traceparent":null}""").ShouldBe(least);
    }

    [Fact]
    public void Fields_that_a_reply_can_do_without_are_left_out_and_defaulted()
    {
        var least = new ReplyItem("s1", "seat", Phase.Cancel, 1, Outcome.Ok);
        Json(new ReplyBatch([least])).ShouldBe("""{"items":[{"saga":"s1","step":"seat","phase":"cancel","attempt":1,"outcome":"ok"}]}""");
        Reply("""{"saga":"s1","step":"seat","phase":"cancel","outcome":"ok"}""").ShouldBe(least);
        Reply("""{"saga":"s1","step":"seat","phase":"cancel","outcome":"ok","payload":null,"code":null,"message":null,"retryAfter":null}""").ShouldBe(least with { Payload = Payload.Null });
    }

    [Fact]
    public void Unknown_fields_are_ignored_wherever_they_stand()
    {
        const string news = "\"news\":{\"saga\":\"other\",\"items\":[[{}],1]}";
        Commands($$"""{{{news}},"items":[{{{news}},{{WholeCommand[1..^1]}},{{news}}}],{{news}}}""").Items.ShouldBe([Command(WholeCommand)]);
        Replies($$"""{{{news}},"items":[{{{news}},{{WholeReply[1..^1]}},{{news}}}],{{news}}}""").Items.ShouldBe([Reply(WholeReply)]);
    }

    [Fact]
    public void Every_phase_and_outcome_has_its_word()
    {
        Enum.GetValues<Phase>().Select(p => p.Word()).ShouldBe(["try", "confirm", "cancel", "do", "compensate", "check"]);
        Enum.GetValues<Outcome>().Select(o => o.Word()).ShouldBe(["ok", "refused", "error", "busy"]);
        foreach (var phase in Enum.GetValues<Phase>())
        {
            Wire.PhaseOf(phase.Word()).ShouldBe(phase);
            Wire.Key("s", "a", phase).ShouldBe($"s/a/{phase.Word()}");
        }
        foreach (var outcome in Enum.GetValues<Outcome>()) Wire.OutcomeOf(outcome.Word()).ShouldBe(outcome);
    }

    [Theory]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("1")]
    [InlineData("\"items\"")]
    [InlineData("{}")]
    [InlineData("""{"Items":[]}""")]
    [InlineData("""{"items":null}""")]
    [InlineData("""{"items":{}}""")]
    [InlineData("""{"items":[null]}""")]
    [InlineData("""{"items":[[]]}""")]
    [InlineData("""{"items":["x"]}""")]
    [InlineData("""{"items":[{}]}""")]
    [InlineData("""{"items":[]} x""")]
    [InlineData("")]
    public void What_is_no_envelope_is_a_JsonException(string json)
    {
        Should.Throw<JsonException>(() => Commands(json));
        Should.Throw<JsonException>(() => Replies(json));
    }

    [Fact]
    public void A_required_field_that_is_missing_or_null_is_a_JsonException_that_names_it()
    {
        foreach (var field in new[] { "saga", "step", "phase", "command", "replyTo" })
            Lacking(WholeCommand, field, json => Command(json));
        foreach (var field in new[] { "saga", "step", "phase", "outcome" })
            Lacking(WholeReply, field, json => Reply(json));

        static void Lacking(string whole, string field, Action<string> read)
        {
            var item = System.Text.Json.Nodes.JsonNode.Parse(whole)!.AsObject();
            item.Remove(field);
            Should.Throw<JsonException>(() => read(item.ToJsonString())).Message.ShouldContain(field);
            item[field] = null;
            Should.Throw<JsonException>(() => read(item.ToJsonString())).Message.ShouldContain(field);
        }
    }

    [Fact]
    public void A_field_of_a_wrong_type_is_a_JsonException()
    {
        foreach (var field in new[] { "saga", "step", "phase", "attempt", "command", "key", "deadline", "replyTo", "traceparent" })
            Wrong(WholeCommand, field, json => Command(json));
        foreach (var field in new[] { "saga", "step", "phase", "attempt", "outcome", "code", "message", "retryAfter" })
            Wrong(WholeReply, field, json => Reply(json));

        static void Wrong(string whole, string field, Action<string> read)
        {
            string[] texts = ["saga", "step", "command", "key", "replyTo", "traceparent", "code", "message"];
            string[] wrong = ["true", "{}", "[]", "[1]", "{\"a\":1}", texts.Contains(field) ? "1" : "\"x\"", .. field == "attempt" ? ["1.5", "99999999999", "\"1\"", "null"] : Array.Empty<string>(),
                .. field == "retryAfter" ? ["-1", "1e300", "\"1\""] : Array.Empty<string>()];
            foreach (var value in wrong)
            {
                var item = System.Text.Json.Nodes.JsonNode.Parse(whole)!.AsObject();
                item[field] = System.Text.Json.Nodes.JsonNode.Parse(value);
                Should.Throw<JsonException>(() => read(item.ToJsonString()), $"{field}: {value}");
            }
        }
    }

    [Fact]
    public void An_envelope_cut_off_at_any_byte_is_a_JsonException()
    {
        CutOff(Encoding.UTF8.GetBytes($$"""{"items":[{{WholeCommand}},{{WholeCommand}}]}"""), bytes => JsonSerializer.Deserialize<CommandBatch>(bytes, SagaJson.Options));
        CutOff(Encoding.UTF8.GetBytes($$"""{"items":[{{WholeReply}},{{WholeReply}}]}"""), bytes => JsonSerializer.Deserialize<ReplyBatch>(bytes, SagaJson.Options));
    }

    private static void CutOff(byte[] whole, Action<byte[]> read)
    {
        read(whole);
        for (var length = 0; length < whole.Length; length++) Should.Throw<JsonException>(() => read(whole[..length]), $"cut at {length}");
    }

    [Fact]
    public void An_envelope_with_any_byte_broken_is_read_or_a_JsonException()
    {
        Broken(Encoding.UTF8.GetBytes($$"""{"items":[{{WholeCommand}}]}"""), bytes => JsonSerializer.Deserialize<CommandBatch>(bytes, SagaJson.Options));
        Broken(Encoding.UTF8.GetBytes($$"""{"items":[{{WholeReply}}]}"""), bytes => JsonSerializer.Deserialize<ReplyBatch>(bytes, SagaJson.Options));
    }

    private static void Broken(byte[] whole, Action<byte[]> read)
    {
        foreach (var with in new byte[] { 0xFF, 0xC3, 0x00, (byte)'"', (byte)'{', (byte)'}', (byte)']', (byte)'\\', (byte)'9' })
            for (var at = 0; at < whole.Length; at++)
            {
                var broken = whole.ToArray();
                broken[at] = with;
                try
                {
                    read(broken);
                }
                catch (Exception e)
                {
                    e.ShouldBeAssignableTo<JsonException>($"byte {at} is {with:x2}");
                }
            }
    }

    [Fact]
    public void A_payload_that_is_not_UTF8_is_refused_before_it_is_stored()
    {
        var bytes = Encoding.UTF8.GetBytes($$"""{"items":[{{WholeReply.Replace("2.50", "\"?\"")}}]}""");
        bytes[Array.IndexOf(bytes, (byte)'?')] = 0xFF;
        Should.Throw<JsonException>(() => JsonSerializer.Deserialize<ReplyBatch>(bytes, SagaJson.Options)).Message.ShouldContain("UTF-8");
    }

    [Theory]
    [InlineData("""{"b":1,  "a" : [ 1.0, 1e2, -0.0 ]}""")]
    [InlineData("\"\\u00e9\\ud83d\\ude00\"")]
    [InlineData("\"é😀\"")]
    [InlineData("\"\\ud800\"")]
    [InlineData("123456789012345678901234567890.10")]
    [InlineData("{\"a\":1,\"a\":2}")]
    [InlineData("{\n\t\"a\" : true\r\n}")]
    [InlineData("false")]
    [InlineData("\"\"")]
    public void Payload_bytes_come_through_untouched(string json)
    {
        Command(WholeCommand.Replace("""{"a": [1, 2.50]}""", json)).Payload.ToString().ShouldBe(json);
        Reply(WholeReply.Replace("""{"a": [1, 2.50]}""", json)).Payload!.ToString().ShouldBe(json);
        var reply = new ReplyItem("s", "a", Phase.Do, 1, Outcome.Ok, new Payload(Encoding.UTF8.GetBytes(json)));
        Replies(Json(new ReplyBatch([reply]))).Items[0].Payload!.ToString().ShouldBe(json);
    }

    [Fact]
    public void Payloads_nest_sixty_four_deep_and_no_deeper()
    {
        static string Nested(int depth) => new string('[', depth) + new string(']', depth);
        Reply(WholeReply.Replace("""{"a": [1, 2.50]}""", Nested(64))).Payload!.ToString().ShouldBe(Nested(64));
        Should.Throw<JsonException>(() => Reply(WholeReply.Replace("""{"a": [1, 2.50]}""", Nested(65))));
        // A confirm carries the command and the result one level down.
        var both = $$"""{"command":{{Nested(64)}},"result":{{Nested(64)}}}""";
        Command(WholeCommand.Replace("""{"a": [1, 2.50]}""", both)).Payload.ToString().ShouldBe(both);
        Should.Throw<JsonException>(() => Command(WholeCommand.Replace("""{"a": [1, 2.50]}""", Nested(66))));
        Should.Throw<JsonException>(() => Reply(WholeReply.Replace("""{"a": [1, 2.50]}""", Nested(100_000))));
        // And what a saga may hold, its state can be read back with.
        var deep = Payload.Parse(Nested(64));
        var state = Whole() with { Input = deep, Result = deep, Steps = [StepState.Fresh with { Command = deep, Result = deep }] };
        StateJson.Read(Bytes(state)).Steps[0].Result.ShouldBe(deep);
        Should.Throw<JsonException>(() => Payload.Parse(Nested(65)));
        Should.Throw<JsonException>(() => Payload.From(Chain(66)));
        Payload.From(Chain(64)).ToString().Length.ShouldBeGreaterThan(64);

        static Link? Chain(int depth) => depth == 0 ? null : new Link("x", Chain(depth - 1));
    }

    private sealed record Link(string Name, Link? Next);

    [Fact]
    public void A_big_envelope_comes_through_whole()
    {
        var items = Enumerable.Range(0, 256).Select(i => new CommandItem($"s{i}", "seat", (Phase)(i % 6), i + 1, "c", $"k{i}",
            Payload.Parse($$"""{"text":"{{new string((char)('a' + (i % 26)), i * 40)}}","n":{{i}}}"""), Noon.AddSeconds(i), "q", null)).ToArray();
        Commands(Json(new CommandBatch(items))).Items.ShouldBe(items);
    }

    // ── States ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    private static byte[] Bytes(SagaState state)
    {
        var bytes = new ArrayBufferWriter<byte>();
        StateJson.Write(bytes, state);
        return bytes.WrittenSpan.ToArray();
    }

    private static byte[] Bytes(HistoryEntry entry)
    {
        var bytes = new ArrayBufferWriter<byte>();
        StateJson.Write(bytes, entry);
        return bytes.WrittenSpan.ToArray();
    }

    /// <summary>A state with every field set to something that is not its default.</summary>
    private static SagaState Whole() => new()
    {
        Inline = new InlineDefinition("f00d", Payload.Parse("{\"name\":\"trip\"}")),
        Id = new SagaId("s:1"), Definition = "trip", DefinitionVersion = 3, Version = 7, Course = SagaStatus.Terminated, Paused = true, Mixed = true,
        Input = Payload.Parse("{\"name\": \"Ada\"}"), Result = Payload.Parse("[1]"), Error = new SagaError("seat", "sold-out", "Sold \"out\"."),
        Tags = ImmutableSortedDictionary<string, string>.Empty.Add("team", "blue").Add("é", "ü"), Priority = 9, StartedAt = Noon, UpdatedAt = Noon.AddSeconds(1),
        CommittedAt = Noon.AddSeconds(2), FinishedAt = Noon.AddSeconds(3), Deadline = Noon.AddSeconds(4), HistoryCount = 12, TraceParent = "00-a-b-01",
        Steps = [StepState.Fresh, new StepState
        {
            Status = StepStatus.Failed, Attempt = 3, Failures = 2, InFlight = true, Due = Noon.AddSeconds(5), Unknown = true, Stuck = true, Command = Payload.Parse("{}"),
            Result = Payload.Null, Error = new SagaError(null, "c", "m"), StartedAt = Noon.AddSeconds(6), FinishedAt = Noon.AddSeconds(7),
        }],
    };

    private static void ShouldBeTheSame(SagaState read, SagaState written)
    {
        read.Steps.ShouldBe(written.Steps);
        read.Tags.ShouldBe(written.Tags);
        (read with { Steps = written.Steps, Tags = written.Tags }).ShouldBe(written);
    }

    [Fact]
    public void A_state_with_every_field_set_reads_back_as_it_was()
    {
        foreach (var property in typeof(SagaState).GetProperties().Where(p => p.CanWrite))
            property.GetValue(Whole()).ShouldNotBe(property.GetValue(new SagaState { Id = default, Definition = "", DefinitionVersion = 0, Input = Payload.Parse("0") }), property.Name);
        foreach (var property in typeof(StepState).GetProperties().Where(p => p.CanWrite))
            property.GetValue(Whole().Steps[1]).ShouldNotBe(property.GetValue(StepState.Fresh), property.Name);
        ShouldBeTheSame(StateJson.Read(Bytes(Whole())), Whole());
    }

    [Fact]
    public void Any_state_reads_back_as_it_was()
    {
        for (var seed = 0; seed < 500; seed++)
        {
            var state = AnyState(new Random(seed));
            var read = StateJson.Read(Bytes(state));
            ShouldBeTheSame(read, state);
            Bytes(read).ShouldBe(Bytes(state), $"seed {seed}");
        }
    }

    private static SagaState AnyState(Random random)
    {
        bool Maybe() => random.Next(2) == 0;
        string Text() => string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => random.Next(5) switch { 0 => "\"", 1 => "é", 2 => "😀", 3 => "\n", _ => ((char)random.Next('a', 'z')).ToString() }));
        DateTimeOffset Time() => Noon.AddMilliseconds(random.NextInt64(-1_000_000_000, 1_000_000_000));
        DateTimeOffset? MaybeTime() => Maybe() ? Time() : null;
        Payload Value() => Payload.Parse(random.Next(5) switch { 0 => "null", 1 => "{\"a\": [1, {}]}", 2 => "-1.50e3", 3 => JsonSerializer.Serialize(Text()), _ => "[]" });
        SagaError? Error() => Maybe() ? new SagaError(Maybe() ? Text() : null, Text(), Text()) : null;
        StepState Step() => new()
        {
            Status = (StepStatus)random.Next(15), Attempt = random.Next(5), Failures = random.Next(5), InFlight = Maybe(), Due = MaybeTime(), Unknown = Maybe(), Stuck = Maybe(),
            Command = Maybe() ? Value() : null, Result = Maybe() ? Value() : null, Error = Error(), StartedAt = MaybeTime(), FinishedAt = MaybeTime(),
        };
        return new SagaState
        {
            Id = new SagaId(Text()), Definition = Text(), DefinitionVersion = random.Next(1, 9), Version = random.NextInt64(), Course = (SagaStatus)random.Next(7), Paused = Maybe(), Mixed = Maybe(),
            Input = Value(), Result = Maybe() ? Value() : null, Error = Error(), Steps = [.. Enumerable.Range(0, random.Next(6)).Select(_ => Step())],
            Tags = Enumerable.Range(0, random.Next(4)).Aggregate(ImmutableSortedDictionary<string, string>.Empty, (tags, _) => tags.SetItem(Text(), Text())),
            Priority = random.Next(10), StartedAt = Time(), UpdatedAt = Time(), CommittedAt = MaybeTime(), FinishedAt = MaybeTime(), Deadline = MaybeTime(),
            HistoryCount = random.Next(100), TraceParent = Maybe() ? Text() : null, Inline = Maybe() ? new InlineDefinition(Text(), Value()) : null,
        };
    }

    [Fact]
    public void Unknown_fields_of_a_state_are_ignored()
    {
        const string news = "\"news\":{\"st\":[[{}],1]}";
        var text = Encoding.UTF8.GetString(Bytes(Whole()));
        var newer = $$"""{{{news}},{{text[1..^1]}},{{news}}}""".Replace("{\"s\":14", $$"""{{{news}},"s":14""");
        newer.ShouldContain($"{news},\"s\":14", customMessage: "a step has news too");
        ShouldBeTheSame(StateJson.Read(Encoding.UTF8.GetBytes(newer)), Whole());
    }

    [Fact]
    public void A_state_cut_off_or_broken_at_any_byte_is_a_JsonException()
    {
        CutOff(Bytes(Whole()), bytes => StateJson.Read(bytes));
        Broken(Bytes(Whole()), bytes => StateJson.Read(bytes));
    }

    [Theory]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"id":"s"}""")]
    [InlineData("""{"id":null,"d":"x"}""")]
    [InlineData("""{"id":"s","d":null}""")]
    [InlineData("""{"id":"s","d":"x"} {}""")]
    [InlineData("""{"id":"s","d":"x","v":"1"}""")]
    [InlineData("""{"id":"s","d":"x","v":1.5}""")]
    [InlineData("""{"id":"s","d":"x","v":null}""")]
    [InlineData("""{"id":"s","d":"x","s":7}""")]
    [InlineData("""{"id":"s","d":"x","s":-1}""")]
    [InlineData("""{"id":"s","d":"x","p":1}""")]
    [InlineData("""{"id":"s","d":"x","at":9999999999999999}""")]
    [InlineData("""{"id":"s","d":"x","dl":-9999999999999999}""")]
    [InlineData("""{"id":"s","d":"x","e":"oops"}""")]
    [InlineData("""{"id":"s","d":"x","e":[]}""")]
    [InlineData("""{"id":"s","d":"x","e":[null,"c"]}""")]
    [InlineData("""{"id":"s","d":"x","e":[null,"c",null]}""")]
    [InlineData("""{"id":"s","d":"x","e":[null,"c","m","more"]}""")]
    [InlineData("""{"id":"s","d":"x","t":[]}""")]
    [InlineData("""{"id":"s","d":"x","t":{"a":null}}""")]
    [InlineData("""{"id":"s","d":"x","t":{"a":1}}""")]
    [InlineData("""{"id":"s","d":"x","st":{}}""")]
    [InlineData("""{"id":"s","d":"x","st":null}""")]
    [InlineData("""{"id":"s","d":"x","st":[1]}""")]
    [InlineData("""{"id":"s","d":"x","st":[{"s":15}]}""")]
    [InlineData("""{"id":"s","d":"x","st":[{"o":"yes"}]}""")]
    [InlineData("""{"id":"\ud800","d":"x"}""")]
    [InlineData("""{"id":"s","d":"x","t":{"\udc00":"a"}}""")]
    public void What_is_no_state_is_a_JsonException(string json) => Should.Throw<JsonException>(() => StateJson.Read(Encoding.UTF8.GetBytes(json)));

    [Fact]
    public void A_history_entry_reads_back_as_it_was_and_breaks_only_as_a_JsonException()
    {
        var least = new HistoryEntry { Seq = 1, Time = Noon.AddTicks(1), Event = "started" };
        var whole = new HistoryEntry
        {
            Seq = 2, Time = Noon, Event = "replied", Step = "seat", Phase = Phase.Compensate, Attempt = 4, Outcome = Outcome.Refused, Detail = "Sold \"out\".", By = "ann", Reason = "é",
        };
        StateJson.ReadHistory(Bytes(least)).ShouldBe(least);
        StateJson.ReadHistory(Bytes(whole)).ShouldBe(whole);
        Encoding.UTF8.GetString(Bytes(whole)).ShouldStartWith("""{"seq":2,"time":"2026-11-21T12:00:00Z","event":"replied","step":"seat","phase":"compensate","attempt":4,"outcome":"refused",""");
        CutOff(Bytes(whole), bytes => StateJson.ReadHistory(bytes));
        Broken(Bytes(whole), bytes => StateJson.ReadHistory(bytes));
        foreach (var json in new[] { "null", "[]", "{}", """{"seq":"1"}""", """{"seq":1,"event":null}""", """{"seq":1,"event":"x","time":null}""", """{"seq":1,"event":"x","phase":"fly"}""" })
            Should.Throw<JsonException>(() => StateJson.ReadHistory(Encoding.UTF8.GetBytes(json)), json);
    }

    // ── Payloads ────────────────────────────────────────────────────────────────────────────────────────────────────────

    [Theory]
    [InlineData("30", "30.0")]
    [InlineData("30", "3e1")]
    [InlineData("-0.5", "-5E-1")]
    [InlineData("""{"a":1,"b":2}""", """{ "b": 2.0, "a": 1 }""")]
    [InlineData("""{"a":[{"x":1,"y":[2]}]}""", """{"a":[{"y":[2.00],"x":1}]}""")]
    [InlineData("\"é\"", "\"\\u00e9\"")]
    [InlineData("\"😀\"", "\"\\ud83d\\ude00\"")]
    [InlineData("\"a/b\"", "\"a\\/b\"")]
    [InlineData("""{"é":1}""", """{"\u00e9":1}""")]
    [InlineData("123456789012345678901234567890", "123456789012345678901234567890.0")]
    [InlineData("\"\\ud800\"", "\"\\ud800\"")]
    public void Payloads_are_equal_as_JSON(string one, string other)
    {
        Payload.Parse(one).ShouldBe(Payload.Parse(other));
        Payload.Parse(one).GetHashCode().ShouldBe(Payload.Parse(other).GetHashCode());
    }

    [Theory]
    [InlineData("30", "31")]
    [InlineData("30", "\"30\"")]
    [InlineData("[1,2]", "[2,1]")]
    [InlineData("""{"a":1}""", """{"A":1}""")]
    [InlineData("""{"a":1}""", """{"a":1,"b":null}""")]
    [InlineData("null", "{}")]
    [InlineData("0", "false")]
    [InlineData("\"\\ud800\"", "\"x\"")]
    [InlineData("""{"a":"\ud800"}""", """{ "a":"\ud800"}""")]
    [InlineData("123456789012345678901234567890", "123456789012345678901234567891")]
    public void Payloads_differ_as_JSON(string one, string other) => Payload.Parse(one).ShouldNotBe(Payload.Parse(other));

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("1 2")]
    [InlineData("{'a':1}")]
    [InlineData("[1,]")]
    [InlineData("NaN")]
    [InlineData("// note\n1")]
    public void What_is_no_JSON_is_no_payload(string json) => Should.Throw<JsonException>(() => Payload.Parse(json));

    [Fact]
    public void Payloads_are_camelCase_and_nothing_is_null()
    {
        Payload.From(new Party("Ada", new Guest("Bob", 3), [])).ToString().ShouldBe("""{"host":"Ada","first":{"name":"Bob","age":3},"others":[]}""");
        Payload.From(Nothing.Value).IsNull.ShouldBeTrue();
        Payload.From<string?>(null).IsNull.ShouldBeTrue();
        Payload.From<object>(new Guest("Bob", 3)).ToString().ShouldBe("""{"name":"Bob","age":3}""");
        Payload.Parse("""{"HOST":"Ada","first":{"name":"Bob","age":"3"},"others":[],"more":1}""").Read<Party>()!.First.Age.ShouldBe(3);
    }

    [Theory]
    [InlineData("""{"host":"Ada","first":{"name":"Bob","age":"old"},"others":[]}""", "$.first.age")]
    [InlineData("""{"host":"Ada","first":{"name":null,"age":3},"others":[]}""", "$.first.name")]
    [InlineData("""{"host":"Ada","first":{"name":"Bob","age":3},"others":[{"name":"Cy","age":1},{"name":7,"age":1}]}""", "$.others[1].name")]
    [InlineData("""{"host":null,"first":{"name":"Bob","age":3},"others":[]}""", "$.host")]
    [InlineData("""{"host":"Ada","first":null,"others":[]}""", "$.first")]
    [InlineData("[]", "$")]
    [InlineData("null", "$")]
    public void What_does_not_fit_its_type_is_refused_with_the_path(string json, string path) =>
        Should.Throw<JsonException>(() => Payload.Parse(json).Require(typeof(Party))).Path.ShouldBe(path);

    [Fact]
    public void What_a_type_requires_and_is_missing_is_named() =>
        Should.Throw<JsonException>(() => Payload.Parse("""{"host":"Ada","first":{"name":"Bob"},"others":[]}""").Require(typeof(Party))).Message.ShouldContain("age");

    [Fact]
    public void What_fits_is_remembered()
    {
        var payload = Payload.Parse("""{"host":"Ada","first":{"name":"Bob","age":3},"others":[]}""");
        payload.Require(typeof(Party));
        payload.Read<Party>().ShouldBeSameAs(payload.Read(typeof(Party)));
        Payload.Null.Require(typeof(Nothing));
        Payload.Null.Require(typeof(int?));
    }

    private sealed record Party(string Host, Guest First, Guest[] Others);

    private sealed record Guest(string Name, int Age);
}
