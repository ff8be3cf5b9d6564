using System.Runtime.Loader;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Heart;

/// <summary>What the DSL promises the compiler will refuse, and that it takes the definition that its page shows.</summary>
public class DslCompileTests
{
    private const string Words = """
        public record TripRequest(string Flight, string City, DateOnly Day, string Card, string Email);
        public record TripBooked(string Seat, string Room);
        public record Seat(string Id, decimal Price);
        public record Room(string Id, decimal Price);
        public record Hold(string Id);
        public record ReserveSeat(string Flight, DateOnly Day) : ITryCommand<ReserveSeat, Seat>;
        public record ReserveRoom(string City, DateOnly Day) : ITryCommand<ReserveRoom, Room>;
        public record HoldMoney(string Card, decimal Amount) : ICommand<HoldMoney, Hold>;
        public record ReleaseMoney(string Id) : ICommand<ReleaseMoney>;
        public record Capture(string Id) : ICommand<Capture>;
        public record SendTicket(string Email, string Seat) : ICommand<SendTicket>;
        public record LookUp(string City) : ICommand<LookUp, int>;

        """;

    // Word for word as in DESIGN.md, section 3.
    private const string BookTrip = """
        [Saga("book-trip", version: 1)]
        public sealed class BookTrip : Saga<TripRequest, TripBooked>
        {
            protected override SagaEnd<TripBooked> Define(Flow<TripRequest> saga)
            {
                var (seat, room) = saga.Parallel(
                    f => f.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).Timeout(5.Seconds()).Retry(5, 200.Milliseconds()),
                    f => f.Tcc(c => new ReserveRoom(c.Input.City, c.Input.Day)));
                var hold = saga.Step(c => new HoldMoney(c.Input.Card, c.Get(seat).Price + c.Get(room).Price))
                               .Compensate((c, h) => new ReleaseMoney(h.Id));
                saga.Step(c => new Capture(c.Get(hold).Id)).Pivot();
                saga.Step(c => new SendTicket(c.Input.Email, c.Get(seat).Id));      // after the pivot: forward only
                return saga.Complete(c => new TripBooked(c.Get(seat).Id, c.Get(room).Id));
            }
        }
        """;

    private static Snippet Saga(string define) => new($$"""
        {{Words}}
        [Saga("snippet")]
        public sealed class Snippet : Saga<TripRequest, TripBooked>
        {
            protected override SagaEnd<TripBooked> Define(Flow<TripRequest> saga)
            {
                {{define}}
            }
        }
        """);

    /// <summary>The lines of a Define that ends as it should.</summary>
    private static Snippet Steps(string steps) => Saga(steps + "\n return saga.Complete(c => new TripBooked(\"s\", \"r\"));");

    [Fact]
    public void The_trip_of_the_design_compiles_as_written_and_draws_its_graph()
    {
        var assembly = new AssemblyLoadContext("trip", isCollectible: true).LoadFromStream(new MemoryStream(new Snippet(Words + BookTrip).Compile()));
        var saga = (Saga)Activator.CreateInstance(assembly.GetType("BookTrip")!)!;
        var trip = SagaDefinition.Of(saga,
        [
            new("reserve-seat", "seats"), new("reserve-room", "rooms"), new("hold-money", "money"), new("capture", "money"), new("send-ticket", "post"),
        ]);

        trip.ToString().ShouldBe("book-trip v1");
        trip.Steps.Select(s => $"{s.Name} {s.Kind} [{string.Join(' ', s.After)}] {s.Forward} {(s.Undo as BusEndpoint)?.Command ?? "-"}").ShouldBe(
        [
            "reserve-seat Tcc [] BusEndpoint { Participant = seats, Command = reserve-seat } reserve-seat",
            "reserve-room Tcc [] BusEndpoint { Participant = rooms, Command = reserve-room } reserve-room",
            "hold-money Do [0 1] BusEndpoint { Participant = money, Command = hold-money } release-money",
            "capture Do [2] BusEndpoint { Participant = money, Command = capture } -",
            "send-ticket Do [3] BusEndpoint { Participant = post, Command = send-ticket } -",
        ]);
        trip.Pivot.ShouldBe(3);
        trip.Steps[0].Timeout.ShouldBe(5.Seconds());
        trip.Steps[0].Retry.ShouldBe(new Retry(5, 200.Milliseconds(), 30.Seconds(), 2));
        trip.InputType!.Name.ShouldBe("TripRequest");
        trip.ResultType!.Name.ShouldBe("TripBooked");
    }

    [Fact]
    public void A_later_step_cannot_be_read() => Steps("""
        saga.Step(c => new HoldMoney(c.Input.Card, c.Get(seat).Price)).Compensate((c, h) => new ReleaseMoney(h.Id)); // wrong
        var seat = saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day));
        """).ShouldNotCompile("CS0841");

    [Fact]
    public void A_step_cannot_read_itself() => Steps("""
        var hold = saga.Step(c => new HoldMoney(c.Get(hold).Id, 1)).Compensate((c, h) => new ReleaseMoney(h.Id)); // wrong
        """).ShouldNotCompile("CS0841");

    [Fact]
    public void A_step_of_the_branch_beside_cannot_be_read() => Steps("""
        var (seat, room) = saga.Parallel(f => f.Tcc(c => new ReserveSeat("", c.Input.Day)), f => f.Tcc(c => new ReserveRoom(c.Get(seat).Id, c.Input.Day))); // wrong
        """).ShouldNotCompile("CS0841", "CS8130");

    [Fact]
    public void A_step_inside_the_branch_beside_cannot_be_read() => Steps("""
        saga.Parallel(
            f => { var first = f.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)); return f.Tcc(c => new ReserveSeat(c.Get(first).Id, c.Input.Day)); },
            f => f.Tcc(c => new ReserveRoom(c.Get(first).Id, c.Input.Day))); // wrong
        """).ShouldNotCompile("CS0103");

    [Fact]
    public void A_compensation_cannot_use_what_the_result_does_not_have() => Steps("""
        saga.Step(c => new HoldMoney(c.Input.Card, 1)).Compensate((c, h) => new ReleaseMoney(h.Receipt)); // wrong
        """).ShouldNotCompile("CS1061");

    [Fact]
    public void A_compensation_cannot_be_a_try_command() => Steps("""
        saga.Step(c => new HoldMoney(c.Input.Card, 1)).Compensate((c, h) => new ReserveSeat(h.Id, c.Input.Day)); // wrong
        """).ShouldNotCompile("CS0411");

    [Fact]
    public void A_try_command_cannot_be_a_plain_step() => Steps("""
        saga.Step(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).ReadOnly(); // wrong
        """).ShouldNotCompile("CS0411");

    [Fact]
    public void A_plain_command_cannot_be_tried() => Steps("""
        saga.Tcc(c => new HoldMoney(c.Input.Card, 1)); // wrong
        """).ShouldNotCompile("CS0411");

    [Fact]
    public void What_is_no_command_cannot_be_a_step() => Steps("""
        saga.Step(c => c.Input.Card).ReadOnly(); // wrong
        """).ShouldNotCompile("CS0411");

    [Theory]
    [InlineData("saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).Pivot(); // wrong")]
    [InlineData("saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).ReadOnly(); // wrong")]
    [InlineData("saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).Compensate((c, s) => new ReleaseMoney(s.Id)); // wrong")]
    [InlineData("saga.Step(c => new HoldMoney(c.Input.Card, 1)).Compensate((c, h) => new ReleaseMoney(h.Id)).Pivot(); // wrong")]
    [InlineData("saga.Step(c => new HoldMoney(c.Input.Card, 1)).Compensate((c, h) => new ReleaseMoney(h.Id)).Named(\"hold\").ReadOnly(); // wrong")]
    [InlineData("saga.Step(c => new HoldMoney(c.Input.Card, 1)).Compensate((c, h) => new ReleaseMoney(h.Id)).Compensate((c, h) => new ReleaseMoney(h.Id)); // wrong")]
    [InlineData("saga.Step(c => new LookUp(c.Input.City)).ReadOnly().Compensate((c, n) => new ReleaseMoney(\"\")); // wrong")]
    [InlineData("saga.Step(c => new LookUp(c.Input.City)).ReadOnly().Pivot(); // wrong")]
    [InlineData("saga.Step(c => new Capture(c.Input.Card)).Pivot().Compensate((c, h) => new ReleaseMoney(\"\")); // wrong")]
    [InlineData("saga.Step(c => new Capture(c.Input.Card)).Pivot().Pivot(); // wrong")]
    public void A_step_says_only_what_its_kind_can(string step) => Steps(step).ShouldNotCompile("CS1061");

    [Theory]
    [InlineData("Room room = c.Get(seat); // wrong", "CS0029")]
    [InlineData("var room = c.Get<Room>(seat); // wrong", "CS1503")]
    [InlineData("var nights = c.Get(seat).Nights; // wrong", "CS1061")]
    public void A_handle_cannot_be_read_as_another_result(string read, string id) => Steps($$"""
        var seat = saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day));
        saga.Tcc(c =>
        {
            {{read}}
            return new ReserveRoom(c.Input.City, c.Input.Day);
        });
        """).ShouldNotCompile(id);

    [Fact]
    public void A_field_that_the_input_does_not_have_cannot_be_read() => Steps("""
        saga.Tcc(c => new ReserveSeat(c.Input.Train, c.Input.Day)); // wrong
        """).ShouldNotCompile("CS1061", "CS0411");

    [Fact]
    public void What_may_be_null_cannot_stand_where_it_may_not() => new Snippet($$"""
        {{Words}}
        public record Ask(string? Flight);
        public sealed class Snippet : Saga<Ask, int>
        {
            protected override SagaEnd<int> Define(Flow<Ask> saga)
            {
                saga.Tcc(c => new ReserveSeat(c.Input.Flight, default)); // wrong
                return saga.Complete(c => 1);
            }
        }
        """).ShouldNotCompile("CS8604");

    [Fact]
    public void A_saga_cannot_complete_with_another_result() => Saga("""
        saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day));
        return saga.Complete(c => c.Input.City); // wrong
        """).ShouldNotCompile("CS0029");

    [Fact]
    public void A_saga_cannot_leave_its_end_out() => new Snippet($$"""
        {{Words}}
        public sealed class Snippet : Saga<TripRequest, TripBooked>
        {
            protected override SagaEnd<TripBooked> Define(Flow<TripRequest> saga) // wrong
            {
                saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day));
            }
        }
        """).ShouldNotCompile("CS0161");

    [Fact]
    public void A_saga_must_be_defined() => new Snippet($$"""
        {{Words}}
        public sealed class Snippet : Saga<TripRequest, TripBooked>; // wrong
        """).ShouldNotCompile("CS0534");

    [Fact]
    public void A_branch_cannot_end_without_a_step() => Steps("""
        saga.Parallel( // wrong
            f => f.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)),
            f => f.Complete(c => 1));
        """).ShouldNotCompile("CS0411");

    [Theory]
    [InlineData("public record Wrong(string Id) : ICommand<string, Hold>; // wrong", "CS0311")]
    [InlineData("public record Wrong(string Id) : ICommand<Hold, Hold>; // wrong", "CS0311")]
    [InlineData("public record Wrong(string Id) : ICommand<HoldMoney, Seat>; // wrong", "CS0311")]
    [InlineData("public record Wrong(string Id) : ITryCommand<HoldMoney, Hold>; // wrong", "CS0311")]
    public void A_command_cannot_name_what_is_no_such_command_as_itself(string command, string id) => new Snippet(Words + command).ShouldNotCompile(id);

    [Fact]
    public void Handles_cannot_be_made_by_hand() => Steps("""
        var seat = new TccStep<Seat>(null!); // wrong
        """).ShouldNotCompile("CS1729", "CS0122");

    [Fact]
    public void What_is_right_compiles()
    {
        // Against the worry that the refusals above come of a broken snippet.
        Steps("""
            var seat = saga.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).NoRetryOn<InvalidOperationException>().To("seats");
            var (room, nights) = saga.Parallel(
                f => f.Tcc(c => new ReserveRoom(c.Get(seat).Id, c.Input.Day)),
                f => f.Step(c => new LookUp(c.Input.City)).ReadOnly());
            saga.Step(c => new HoldMoney(c.Input.Card, c.Get(nights))).Compensate(c => new ReleaseMoney(c.Input.Card)).Named("hold");
            """).Compile().ShouldNotBeEmpty();
    }
}
