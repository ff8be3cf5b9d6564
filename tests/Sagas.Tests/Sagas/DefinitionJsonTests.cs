using System.Text;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Heart;

public class DefinitionJsonTests
{
    /// <summary>The transfer of DESIGN, section 9.</summary>
    private const string Transfer = """
        { "name": "transfer", "version": 1, "timeout": "PT5M",
          "headers": { "X-Team": "payments" },
          "steps": [
            { "name": "out", "tcc": { "try": "http://bank-a/out/try", "confirm": "http://bank-a/out/confirm", "cancel": "http://bank-a/out/cancel" },
              "input": { "account": "$.input.from", "amount": "$.input.amount" },
              "timeout": "PT3S", "retry": { "attempts": 5, "first": "PT0.2S", "max": "PT10S", "factor": 2 } },
            { "name": "in", "after": ["out"], "step": { "do": "http://bank-b/in", "compensate": "http://bank-b/in/undo" },
              "input": { "account": "$.input.to", "amount": "$.input.amount", "receipt": "$.steps.out.result.receipt" } } ],
          "result": { "receipt": "$.steps.in.result.receipt" } }
        """;

    private static SagaDefinition Parse(string json) => DefinitionJson.Parse(Encoding.UTF8.GetBytes(json));

    private static SagaDefinition Steps(string steps) => Parse($$"""{"name":"s","version":1,"steps":[{{steps}}]}""");

    private static string[] Faults(string json) =>
        [.. Should.Throw<DefinitionJsonException>(() => Parse(json)).Faults.Select(f => f.Path)];

    [Fact]
    public void The_transfer_is_read_as_it_is_written()
    {
        var saga = Parse(Transfer);
        saga.ToString().ShouldBe("transfer v1");
        saga.Timeout.ShouldBe(5.Minutes());
        saga.Steps.Select(s => s.Name).ShouldBe(["out", "in"]);
        var first = saga.Steps[0];
        first.Kind.ShouldBe(StepKind.Tcc);
        first.Forward.ShouldBe(new HttpEndpoint(new Uri("http://bank-a/out/try")));
        first.Confirm.ShouldBe(new HttpEndpoint(new Uri("http://bank-a/out/confirm")));
        first.Undo.ShouldBe(new HttpEndpoint(new Uri("http://bank-a/out/cancel")));
        first.Timeout.ShouldBe(3.Seconds());
        first.Retry.ShouldBe(new Retry(5, 200.Milliseconds(), 10.Seconds(), 2));
        first.Headers.ShouldBe([new("X-Team", "payments")]);
        first.CallbackWithin.ShouldBe(10.Minutes());
        saga.Steps[1].After.ShouldBe([0]);
        var story = new Story(saga).Answers("out", """{"receipt":7.50}""").Tell("""
            start    → try out
            out ok   → do in
            in ok    → confirm out; Confirming
            out ok   → Completed
            """);
        story.Sent[1].Payload.ToString().ShouldBe("""{"account":null,"amount":null,"receipt":7.50}""");
    }

    [Fact]
    public void Steps_may_be_written_in_any_order()
    {
        var saga = Steps("""{"name":"b","after":["a"],"step":{"do":"bus:p/b"}},{"name":"c","step":{"do":"bus:p/c"}},{"name":"a","step":{"do":"bus:p/a"}}""");
        saga.Steps.Select(s => s.Name).ShouldBe(["c", "a", "b"]);
        saga.Steps[2].After.ShouldBe([1]);
        saga.Steps[2].Forward.ShouldBe(new BusEndpoint("p", "b"));
    }

    [Fact]
    public void What_has_nothing_to_call_is_settled_without_a_call() => new Story(Steps("""
        {"name":"hold","tcc":{"try":"bus:p/hold"}},{"name":"note","after":["hold"],"step":{"do":"bus:p/note"}},
        {"name":"pay","after":["note"],"step":{"do":"bus:p/pay","compensate":"bus:p/unpay"}},{"name":"last","after":["pay"],"step":{"do":"bus:p/last"}}
        """)).Tell("""
        start          → try hold
        hold ok        → do note
        note ok        → do pay
        pay ok         → do last
        last refused   → compensate pay; Compensating
        pay ok         → Compensated
        """).Step("hold").Status.ShouldBe(StepStatus.Cancelled);

    [Fact]
    public void A_reservation_without_confirm_goes_straight_to_confirmed() => new Story(Steps("""{"name":"hold","tcc":{"try":"bus:p/hold"}}""")).Tell("""
        start     → try hold
        hold ok   → Completed
        """).Step("hold").Status.ShouldBe(StepStatus.Confirmed);

    [Theory]
    [InlineData("""[]""", "$")]
    [InlineData("""{"name":"s","version":1}""", "$.steps")]
    [InlineData("""{"name":"s","version":1,"steps":{}}""", "$.steps")]
    [InlineData("""{"name":"s","version":1,"steps":[]}""", "$.steps")]
    [InlineData("""{"name":"s","version":1,"steps":[1]}""", "$.steps[0]")]
    [InlineData("""{"name":"s","name":"s","version":1,"steps":[]}""", "$.name")]
    [InlineData("""{"name":"s p","version":0,"locks":[],"x y":1,"steps":[]}""", "$.locks|$['x y']|$.name|$.version|$.steps")]
    [InlineData("""{"name":"\ud800"}""", "$.name")]
    public void Faults_of_a_saga_have_their_paths(string json, string paths) => Faults(json).ShouldBe(paths.Split('|'));

    [Theory]
    [InlineData("""{"name":"a"}""", "$.steps[0]")]
    [InlineData("""{"name":"a","forEach":"$.input"}""", "$.steps[0].forEach")]
    [InlineData("""{"name":"a","step":{"do":"bus:p/a"},"tcc":{"try":"bus:p/a"}}""", "$.steps[0]")]
    [InlineData("""{"name":"a","step":{}}""", "$.steps[0].step.do")]
    [InlineData("""{"name":"a","step":{"do":"ftp://x/y","check":"http://x"}}""", "$.steps[0].step.check|$.steps[0].step.do")]
    [InlineData("""{"name":"a","after":["z",1],"step":{"do":"bus:p/a"}}""", "$.steps[0].after[0]|$.steps[0].after[1]")]
    [InlineData("""{"name":"a","after":["b"],"step":{"do":"bus:p/a"}},{"name":"b","after":["a"],"step":{"do":"bus:p/b"}}""", "$.steps[0].after")]
    [InlineData("""{"name":"a","step":{"do":"bus:p/a"}},{"name":"a","step":{"do":"bus:p/a"}}""", "$.steps[1].name")]
    [InlineData("""{"name":"a","timeout":"5s","callbackWithin":"PT0S","step":{"do":"bus:p/a"}}""", "$.steps[0].timeout|$.steps[0].callbackWithin")]
    [InlineData("""{"name":"a","retry":{"attempts":0,"factor":0,"first":"P1Y","max":"P3651D"},"step":{"do":"bus:p/a"}}""", "$.steps[0].retry.attempts|$.steps[0].retry.first|$.steps[0].retry.max|$.steps[0].retry.factor")]
    [InlineData("""{"name":"a","headers":{"Saga-Id":"x","host":"y","n":1},"step":{"do":"bus:p/a"}}""", "$.steps[0].headers.Saga-Id|$.steps[0].headers.host|$.steps[0].headers.n")]
    [InlineData("""{"name":"a","refuseOn":["500",99],"step":{"do":"bus:p/a"}}""", "$.steps[0].refuseOn[0]|$.steps[0].refuseOn[1]")]
    [InlineData("""{"name":"a","pivot":true,"step":{"do":"bus:p/a","compensate":"bus:p/b"}}""", "$.steps[0].step.compensate")]
    [InlineData("""{"name":"a","readOnly":true,"step":{"do":"bus:p/a","compensate":"bus:p/b"}}""", "$.steps[0].step.compensate")]
    [InlineData("""{"name":"a","pivot":true,"step":{"do":"bus:p/a"}},{"name":"b","pivot":true,"step":{"do":"bus:p/b"}}""", "$.steps[1].pivot")]
    [InlineData("""{"name":"a","pivot":true,"step":{"do":"bus:p/a"}},{"name":"b","tcc":{"try":"bus:p/b"}}""", "$.steps[1]")]
    [InlineData("""{"name":"a","input":["$.steps.b.result","$.steps.z.result","$.x","$.input[x]","{$.input"],"step":{"do":"bus:p/a"}},{"name":"b","step":{"do":"bus:p/b"}}""",
        "$.steps[0].input[0]|$.steps[0].input[1]|$.steps[0].input[2]|$.steps[0].input[3]|$.steps[0].input[4]")]
    public void Faults_of_steps_have_their_paths(string steps, string paths) =>
        Faults($$"""{"name":"s","version":1,"steps":[{{steps}}]}""").ShouldBe(paths.Split('|'));

    [Fact]
    public void Broken_text_gives_faults_and_nothing_else()
    {
        var whole = Encoding.UTF8.GetBytes(Transfer);
        for (var cut = 0; cut < whole.Length; cut++) Should.Throw<DefinitionJsonException>(() => DefinitionJson.Parse(whole.AsMemory(0, cut)));
        var random = new Random(1);
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = whole.ToArray();
            for (var k = random.Next(1, 4); k > 0; k--) bytes[random.Next(bytes.Length)] = (byte)(random.Next(4) == 0 ? random.Next(256) : "\"{}[],:$.0-x\\"[random.Next(13)]);
            try
            {
                DefinitionJson.Parse(bytes);
            }
            catch (DefinitionJsonException) { }
        }
    }

    [Fact]
    public void A_fingerprint_is_the_texts_up_to_its_spelling()
    {
        var print = Parse(Transfer).Fingerprint;
        Parse(Transfer.Replace("\n", "").Replace("\"version\": 1, \"timeout\": \"PT5M\"", "\"timeout\":\"PT5M\",\"version\":1.0")).Fingerprint.ShouldBe(print);
        Parse(Transfer.Replace("$.input.to", "$.input.into")).Fingerprint.ShouldNotBe(print);
        Parse(Transfer.Replace("in.result.receipt", "in.result.id")).Fingerprint.ShouldNotBe(print);
    }

    [Fact]
    public void The_schema_lists_what_the_reader_knows() => DefinitionJson.Schema.ToString().ShouldContain("callbackWithin");
}
