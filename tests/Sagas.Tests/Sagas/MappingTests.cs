using System.Text;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Heart;

public class MappingTests
{
    private static string Map(string template, string input = """{"a":1.50,"s":"é\"x","n":null,"l":[{"sku":"k"}],"o":{"b":1e3}}""")
    {
        var saga = DefinitionJson.Parse(Encoding.UTF8.GetBytes($$"""{"name":"s","version":1,"steps":[{"name":"a","step":{"do":"bus:p/a"},"input":{{template}}}]}"""));
        var state = new SagaState { Id = new SagaId("t1"), Definition = "s", DefinitionVersion = 1, Input = Payload.Parse(input) };
        return saga.Steps[0].Map(new SagaData(state)).ToString();
    }

    [Theory]
    [InlineData("\"$.input.a\"", "1.50")]
    [InlineData("\"$.input.o\"", """{"b":1e3}""")]
    [InlineData("\"$.input.l[0].sku\"", "\"k\"")]
    [InlineData("\"$.input.l[1].sku\"", "null")]
    [InlineData("\"$.input.gone.far\"", "null")]
    [InlineData("\"<{$.input.a}|{$.input.n}|{$.input.gone}|{$.input.l[0].sku}>\"", "\"<1.50|||k>\"")]
    [InlineData("\"o={$.input.o}\"", """
        "o={\"b\":1e3}"
        """)]
    [InlineData("\"$$.input costs $5\"", "\"$.input costs $5\"")]
    [InlineData("\"{$$.input}\"", "\"{$.input}\"")]
    [InlineData("""{"x":["$.input.a",1.0,true,null,"t"],"y":{}}""", """{"x":[1.50,1.0,true,null,"t"],"y":{}}""")]
    [InlineData("2.50", "2.50")]
    public void A_template_becomes_what_it_points_to(string template, string made) => Map(template).ShouldBe(made.Trim());
}
