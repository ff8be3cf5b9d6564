using Sagas.Server;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Server;

/// <summary><c>verify FILE</c> on the command line.</summary>
public sealed class VerifyCommandTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();
    private readonly StringWriter _output = new(), _error = new();

    [Fact]
    public void A_definition_that_holds_ends_with_0_and_its_figures()
    {
        Verify("""{"name":"transfer","version":1,"steps":[{"name":"take","tcc":{"try":"http://127.0.0.1:1/take","confirm":"http://127.0.0.1:1/take","cancel":"http://127.0.0.1:1/take"}},{"name":"give","after":["take"],"tcc":{"try":"http://127.0.0.1:1/give","confirm":"http://127.0.0.1:1/give","cancel":"http://127.0.0.1:1/give"}}]}""", "--drops", "0").ShouldBe(0, _error.ToString());
        _output.ToString().ShouldContain("transfer v1 holds");
        _output.ToString().ShouldContain("2 attempts, 1 crashes, 1 duplicates, 0 drops");
    }

    /// <summary>The file's own definition cannot break a promise unless the engine does: this one breaks one of its user's, in C#.</summary>
    [Fact]
    public void What_breaks_a_promise_ends_with_1_and_the_story()
    {
        var saga = SagaDefinition.Of(new Heart.Pair(), []);
        var found = Explorer.Verify(saga, invariants: [new EffectInvariant("The seat is never given back.", effect => effect("seat") != StepEffect.Undone)]);
        VerifyCommand.Tell(saga, found, 1, _output).ShouldBe(1);
        _output.ToString().ShouldContain("start → try seat, try room");
        _output.ToString().ShouldContain("Not begun: 2 attempts, 1 crashes, 0 duplicates, 0 drops, 0 takeovers, cancels, errors");
        _output.ToString().ShouldContain("pair v1 is broken: The seat is never given back.");
    }

    [Fact]
    public void All_faults_of_a_definition_are_told_and_it_ends_with_2()
    {
        Verify("""{"name":"transfer","version":1,"steps":[{"name":"take","after":["nobody"],"tcc":{"try":"ftp://x","confirm":"http://127.0.0.1:1/c","cancel":"http://127.0.0.1:1/u"}}]}""").ShouldBe(2);
        _error.ToString().ShouldContain("nobody");
        _error.ToString().ShouldContain("ftp://x");
    }

    [Theory]
    [InlineData("--luck", "1", "There is no option --luck. verify --help says more.")]
    [InlineData("--crashes", "9", "--crashes is 9. Give a whole number from 0 to 7. verify --help says more.")]
    [InlineData("--cancel", "maybe", "--cancel is maybe. Give true or false. verify --help says more.")]
    public void A_bad_argument_is_told_and_it_ends_with_2(string name, string value, string says)
    {
        Verify("{}", name, value).ShouldBe(2);
        _error.ToString().Trim().ShouldBe(says);
    }

    [Fact]
    public void A_file_that_is_not_there_is_told()
    {
        VerifyCommand.Run(["/nowhere.json"], _output, _error).ShouldBe(2);
        _error.ToString().ShouldStartWith("/nowhere.json cannot be read: ");
    }

    [Fact]
    public void Too_many_states_are_no_verdict()
    {
        Verify("""{"name":"one","version":1,"steps":[{"name":"take","tcc":{"try":"http://127.0.0.1:1/take","confirm":"http://127.0.0.1:1/take","cancel":"http://127.0.0.1:1/take"}}]}""", "--max-states", "100").ShouldBe(2);
        _output.ToString().ShouldContain("not everything was tried");
    }

    [Fact]
    public void Help_is_help() => VerifyCommand.Run(["--help"], _output, _error).ShouldBe(0);

    private int Verify(string json, params string[] options)
    {
        File.WriteAllText(_file, json);
        return VerifyCommand.Run([_file, .. options], _output, _error);
    }

    public void Dispose()
    {
        File.Delete(_file);
        _output.Dispose();
        _error.Dispose();
    }
}
